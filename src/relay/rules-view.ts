// The active rules as one session sees them: looked up again only when the rules or the session's subject have changed.

import type { Ruleset, SubjectView } from '../policy/ruleset.ts';
import type { Subject } from '../session/subject.ts';

export class RulesView {
  readonly #rules: { readonly active: Ruleset };
  readonly #session: { readonly subject: Subject };
  #view: SubjectView | null = null;
  /** The subject that the view was asked for; the view's own may be an equal one of another session. */
  #subject: Subject | null = null;

  constructor(rules: { readonly active: Ruleset }, session: { readonly subject: Subject }) {
    this.#rules = rules;
    this.#session = session;
  }

  current(): SubjectView {
    const { active } = this.#rules;
    const { subject } = this.#session;
    if (this.#view === null || this.#view.ruleset !== active || this.#subject !== subject) {
      this.#view = active.viewFor(subject);
      this.#subject = subject;
    }
    return this.#view;
  }
}
