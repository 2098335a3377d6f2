// The part of libpg-query's WASM factory that parse.ts uses. The package's own index.js makes one instance at import and
// hides it; parse.ts needs to choose when an instance is made and when it is replaced.

declare module 'libpg-query/wasm/libpg-query.js' {
  export interface LibPgQueryInstance {
    readonly HEAPU8: Uint8Array;
    getValue(pointer: number, type: 'i32'): number;
    _malloc(bytes: number): number;
    _free(pointer: number): void;
    /** Returns a PgQueryParseResult: pointers to the JSON tree, the stderr buffer and the error. */
    _wasm_parse_query_raw(textPointer: number): number;
    _wasm_free_parse_result(resultPointer: number): void;
    /** Returns a string: the fingerprint, or an error's message. */
    _wasm_fingerprint(textPointer: number): number;
    /** Returns a string: JSON of the tokens, or an error's message. */
    _wasm_scan(textPointer: number): number;
    _wasm_free_string(pointer: number): void;
  }
  const createInstance: () => Promise<LibPgQueryInstance>;
  export default createInstance;
}
