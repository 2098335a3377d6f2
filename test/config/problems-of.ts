// Settings that should be refused: what loadSettings says about them, a line for each problem.

import { loadSettings, SettingsError, type SettingsSources } from '../../src/config/load.ts';

/** `source:line:column path message`; empty where the settings are good. */
export function problemsOf(sources: SettingsSources): string[] {
  try {
    loadSettings(sources);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.problems.map(
      ({ source, line, column, path, message }) => `${source}:${line}:${column} ${path} ${message}`,
    );
  }
  return [];
}
