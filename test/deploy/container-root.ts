// What the image holds, as a folder: Node with the libraries that it is linked to, the bundle, and nothing else. Run in by
// chroot, read-only, with volumes mounted over it, where this process may do that; what cannot be had here is said.

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeBundle } from '../../bundle.ts';

export interface ContainerRoot {
  readonly folder: string;
  /** Words that run a command inside: the caller spawns them. `mounts` are folders out here by paths in there. */
  enter(command: readonly string[], user: number, mounts: ReadonlyMap<string, string>): string[];
  remove(): void;
}

/** Throws Error where this process is not root or may not mount: a test that needs it cannot run there. */
export async function buildContainerRoot(): Promise<ContainerRoot> {
  if (process.getuid?.() !== 0) throw new Error('a container root needs root (chroot, mount)');
  const folder = mkdtempSync(join(tmpdir(), 'pgweir-image-'));
  chmodSync(folder, 0o755);
  for (const path of ['nodejs/bin', 'app', 'proc', 'etc/pgweir', 'var/lib/pgweir']) {
    mkdirSync(join(folder, path), { recursive: true });
  }
  const node = realpathSync(process.execPath);
  linkOrCopy(node, join(folder, 'nodejs/bin/node'));
  for (const library of execFileSync('ldd', [node], { encoding: 'utf8' }).match(/\/[^\s)]+/g) ?? []) {
    mkdirSync(join(folder, dirname(library)), { recursive: true });
    copyFileSync(library, join(folder, library));
  }
  await makeBundle(join(folder, 'app/pgweir.mjs'));
  return {
    folder,
    enter(command, user, mounts) {
      const binds = [...mounts].flatMap(([inside, outside]) => [outside, join(folder, inside)]);
      return [
        'unshare',
        '--mount',
        'sh',
        '-ec',
        ENTER,
        'enter',
        folder,
        String(user),
        String(mounts.size),
        ...binds,
        ...command,
      ];
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** $1 root, $2 user, $3 how many pairs of folders follow, then the command. Every step is an exec: the pid stays. */
const ENTER = `
root=$1 user=$2 pairs=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
while [ "$pairs" -gt 0 ]; do mount --bind "$1" "$2"; shift 2; pairs=$((pairs - 1)); done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user:$user" "$root" "$@"
`;

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
    chmodSync(to, 0o755);
  }
}
