// The settings file as it reads after the schema has checked it and filled in its defaults: same names, same order as
// schemas/settings.schema.json.

import type { ListenTls, TargetsTls } from '../tls/settings.ts';
import type { PoolSettings, Settings } from './settings.ts';

export interface RawListenTls {
  readonly mode: ListenTls['mode'];
  readonly certificate_file: string | null;
  readonly key_file: string | null;
  readonly client_ca_file: string | null;
  readonly client_certificate: ListenTls['clientCertificate'];
  readonly min_version: ListenTls['minVersion'];
}

export interface RawTargetsTls {
  readonly mode: TargetsTls['mode'];
  readonly ca_file: string | null;
  readonly certificate_file: string | null;
  readonly key_file: string | null;
  readonly negotiation: TargetsTls['negotiation'];
  readonly min_version: TargetsTls['minVersion'];
  readonly server_name: string | null;
}

export interface RawPool {
  readonly mode: PoolSettings['mode'];
  readonly size: number;
  readonly min_idle: number;
  readonly reserve_size: number;
  readonly reserve_after_ms: number;
  readonly max_per_database: number | null;
  readonly max_per_user: number | null;
  readonly max_per_target: number | null;
  readonly query_wait_ms: number;
  readonly server_lifetime_ms: number;
  readonly server_idle_ms: number;
  readonly idle_in_transaction_ms: number;
  readonly login_retry_ms: number;
  readonly max_prepared_statements: number;
  readonly sequences: PoolSettings['sequences'];
  readonly logins: PoolSettings['logins'];
  readonly affinity: PoolSettings['affinity'];
}

export interface RawSettings {
  readonly listen: {
    readonly host: string;
    readonly port: number;
    readonly unix_socket_directory: string | null;
    readonly tls: RawListenTls;
  };
  readonly targets: {
    readonly primary: { readonly host: string; readonly port: number };
    readonly replicas: readonly { readonly name?: string; readonly host: string; readonly port: number }[];
    readonly tls: RawTargetsTls;
  };
  readonly auth: {
    readonly mode: Settings['auth']['mode'];
    readonly allow_remote_trust: boolean;
    readonly credentials: readonly {
      readonly user: string;
      readonly password?: string | null;
      readonly password_file?: string;
    }[];
    readonly users_file: string | null;
    readonly query: {
      readonly user: string | null;
      readonly database: string;
      readonly text: string;
      readonly cache_ms: number;
      readonly max_cached_users: number;
    };
    readonly certificate_users: readonly { readonly common_name: string; readonly user: string }[];
  };
  readonly limits: {
    readonly max_clients: number;
    readonly max_statement_bytes: number;
    readonly max_analyzed_bytes: number;
    readonly login_timeout_ms: number;
    readonly connect_timeout_ms: number;
    readonly drain_ms: number;
    readonly min_sigterm_delay_ms: number;
  };
  readonly pool: RawPool;
  readonly admin: {
    readonly host: string;
    readonly port: number;
    readonly token: string | null;
    readonly token_file: string | null;
  };
  readonly health: { readonly host: string; readonly port: number };
  readonly rules: { readonly file: string | null; readonly on_invalid_start: Settings['rules']['onInvalidStart'] };
  readonly traffic_control?: object;
  readonly observations: { readonly max_cells: number; readonly max_decisions: number };
  readonly state_directory: string | null;
  readonly log: Settings['log'];
}
