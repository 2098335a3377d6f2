// PostgreSQL 17 with its regression tools, built from Debian's source package (the authors' own archive in it, without
// Debian's patches) into a cache folder outside the repository.

import { type BuiltSource, provideBuilt, type Recipe } from './debian-source.ts';

export { defaultCacheFolder } from './debian-source.ts';

const POSTGRESQL: Recipe = {
  packageName: 'postgresql-17',
  folder: /^postgresql-([\d.]+)$/,
  configuration: ['--without-icu', '--with-openssl', '--with-lz4', 'CFLAGS=-O1'],
  programs: {
    gcc: 'gcc',
    make: 'make',
    bison: 'bison',
    flex: 'flex',
    perl: 'perl',
    tar: 'tar',
    bzip2: 'bzip2',
    openssl: 'openssl',
    'dpkg-source': 'dpkg-dev',
  },
  libraries: ['libc6-dev', 'libssl-dev', 'liblz4-dev', 'libreadline-dev', 'zlib1g-dev'],
  product: 'bin/postgres',
  steps: [
    [],
    ['-C', 'contrib'],
    ['install'],
    ['-C', 'contrib', 'install'],
    ['-C', 'src/test/regress'],
    ['-C', 'src/test/isolation'],
  ],
};

/** The built tree, from the cache or made now (3 to 5 minutes on two cores). Throws SourceUnavailable. */
export function provideSource(cacheFolder: string, say: (line: string) => void): Promise<BuiltSource> {
  return provideBuilt(POSTGRESQL, cacheFolder, say);
}
