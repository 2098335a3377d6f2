// The drivers and what their programs need: which commands build and start them. Everything is built in the cache folder,
// from a copy of programs/<folder>.

/** A command line; it runs in the toolchain's folder of the cache. */
export type Command = readonly [string, ...string[]];

export interface Toolchain {
  /** Folder below programs/ and below the cache. */
  readonly folder: string;
  /** Debian packages that bring what `probes` look for. */
  readonly packages: readonly string[];
  /** Commands that succeed where the toolchain is there. */
  readonly probes: readonly Command[];
  /** Installing and compiling; repeated runs find most of it done. */
  readonly steps: readonly Command[];
}

export interface Driver {
  readonly name: string;
  readonly toolchain: Toolchain;
  readonly command: Command;
  /** Prints the driver's version. */
  readonly version: Command;
}

const LIBPQ: Toolchain = {
  folder: 'libpq',
  packages: ['gcc', 'libc6-dev', 'libpq-dev'],
  probes: [
    ['cc', '--version'],
    ['pg_config', '--includedir'],
  ],
  steps: [['sh', 'build.sh']],
};

const PSQL: Toolchain = {
  folder: 'psql',
  packages: ['postgresql-client'],
  probes: [['psql', '--version']],
  steps: [],
};

const NODE: Toolchain = {
  folder: 'node',
  packages: [],
  probes: [],
  steps: [['npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline']],
};

const PYTHON: Toolchain = {
  folder: 'python',
  packages: ['python3', 'python3-venv'],
  probes: [['python3', '-c', 'import venv, ensurepip']],
  steps: [
    ['python3', '-m', 'venv', 'venv'],
    ['venv/bin/pip', 'install', '--quiet', '--requirement', 'requirements.txt'],
  ],
};

const JAVA: Toolchain = {
  folder: 'java',
  packages: ['default-jdk-headless', 'maven'],
  probes: [
    ['javac', '-version'],
    ['mvn', '--version'],
  ],
  steps: [
    ['mvn', '--quiet', '--batch-mode', 'dependency:copy-dependencies', '-DoutputDirectory=lib'],
    ['javac', '-encoding', 'UTF-8', '-classpath', 'lib/*', '-d', 'classes', 'Checks.java'],
  ],
};

const GO: Toolchain = {
  folder: 'go',
  packages: ['golang-go'],
  probes: [['go', 'version']],
  steps: [['go', 'build', '-mod=readonly', '-o', 'pgx-checks', '.']],
};

const RUST: Toolchain = {
  folder: 'rust',
  packages: ['cargo', 'libssl-dev', 'pkg-config'],
  probes: [
    ['cargo', '--version'],
    ['pkg-config', '--exists', 'openssl'],
  ],
  steps: [['cargo', 'build', '--quiet', '--locked']],
};

const RUBY: Toolchain = {
  folder: 'ruby',
  packages: ['ruby', 'ruby-pg'],
  probes: [['ruby', '-e', 'require "pg"']],
  steps: [],
};

const PERL: Toolchain = {
  folder: 'perl',
  packages: ['perl', 'libdbd-pg-perl'],
  probes: [['/usr/bin/perl', '-MDBD::Pg', '-MJSON::PP', '-e', '1']],
  steps: [],
};

const PHP: Toolchain = {
  folder: 'php',
  packages: ['php-cli', 'php-pgsql'],
  probes: [['php', '-r', 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);']],
  steps: [],
};

const nodeVersion = (name: string): Command => [
  process.execPath,
  '-p',
  `JSON.parse(require("node:fs").readFileSync("node_modules/${name}/package.json")).version`,
];
const pythonVersion = (name: string): Command => [
  'venv/bin/python',
  '-c',
  `from importlib.metadata import version; print(version("${name}"))`,
];
const crateVersion = (name: string): Command => [
  'sh',
  '-c',
  `grep -A1 '^name = "${name}"$' Cargo.lock | sed -n 's/^version = "\\(.*\\)"/\\1/p'`,
];

export const DRIVERS: readonly Driver[] = [
  { name: 'libpq', toolchain: LIBPQ, command: ['./libpq-checks'], version: ['pg_config', '--version'] },
  { name: 'psql', toolchain: PSQL, command: ['bash', 'psql-checks.sh'], version: ['psql', '--version'] },
  {
    name: 'node-postgres',
    toolchain: NODE,
    command: [process.execPath, 'node-postgres.mjs'],
    version: nodeVersion('pg'),
  },
  {
    name: 'postgres.js',
    toolchain: NODE,
    command: [process.execPath, 'postgres-js.mjs'],
    version: nodeVersion('postgres'),
  },
  {
    name: 'psycopg 3',
    toolchain: PYTHON,
    command: ['venv/bin/python', 'psycopg_checks.py'],
    version: pythonVersion('psycopg'),
  },
  {
    name: 'asyncpg',
    toolchain: PYTHON,
    command: ['venv/bin/python', 'asyncpg_checks.py'],
    version: pythonVersion('asyncpg'),
  },
  {
    name: 'SQLAlchemy',
    toolchain: PYTHON,
    command: ['venv/bin/python', 'sqlalchemy_checks.py'],
    version: pythonVersion('sqlalchemy'),
  },
  {
    name: 'pgjdbc',
    toolchain: JAVA,
    command: ['java', '-classpath', 'classes:lib/*', 'Checks'],
    version: ['sh', '-c', 'ls lib | sed -n "s/^postgresql-\\(.*\\)\\.jar/\\1/p"'],
  },
  {
    name: 'pgx',
    toolchain: GO,
    command: ['./pgx-checks'],
    version: ['sh', '-c', 'sed -n "s,.*jackc/pgx/v5 v,,p" go.mod'],
  },
  {
    name: 'tokio-postgres',
    toolchain: RUST,
    command: ['target/debug/tokio_postgres'],
    version: crateVersion('tokio-postgres'),
  },
  { name: 'sqlx', toolchain: RUST, command: ['target/debug/sqlx'], version: crateVersion('sqlx') },
  {
    name: 'ruby-pg',
    toolchain: RUBY,
    command: ['ruby', 'pg.rb'],
    version: ['ruby', '-e', 'require "pg"; puts PG::VERSION'],
  },
  {
    name: 'DBD::Pg',
    toolchain: PERL,
    command: ['/usr/bin/perl', 'dbd-pg.pl'],
    version: ['/usr/bin/perl', '-MDBD::Pg', '-e', 'print "$DBD::Pg::VERSION"'],
  },
  { name: 'PDO', toolchain: PHP, command: ['php', 'pdo.php'], version: ['php', '-r', 'echo phpversion("pdo_pgsql");'] },
];
