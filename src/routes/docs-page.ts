/** Owns the documentation page: the OpenAPI document as plain HTML, without scripts. */
export function renderDocumentation(_document: unknown): string {
  return '<!doctype html><title>Sluice</title>'
}
