// Parts of the auth section that do not go together, or that need another section.

import type { DocumentProblem, ValuePath } from '../base/yaml-document.ts';
import type { RawSettings } from './raw-settings.ts';

type ProblemAt = (path: ValuePath, message: string) => DocumentProblem;

export function findAuthContradictions({ auth, listen }: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const { mode } = auth;
  const problems: DocumentProblem[] = [];
  const refuse = (key: string, message: string): void => {
    problems.push(problemAt(['auth', key], message));
  };
  const isByPassword = mode === 'scram' || mode === 'md5';
  if (isByPassword && auth.users_file === null && auth.query.user === null)
    refuse('mode', `${mode} needs auth.users_file or auth.query.user to check passwords by`);
  if (!isByPassword && auth.query.user !== null) refuse('query', `is of no use with mode ${mode}`);
  if (mode === 'passthrough' && auth.users_file !== null) refuse('users_file', 'is of no use with mode passthrough');
  if (mode === 'certificate' && (listen.tls.mode === 'disable' || listen.tls.client_certificate === 'none'))
    refuse('mode', 'certificate needs listen.tls, with client_certificate optional or require');
  if (mode !== 'certificate' && auth.certificate_users.length > 0)
    refuse('certificate_users', `is of no use with mode ${mode}`);
  return problems;
}
