// Reads what is known of a database's objects from its catalogs, by one query.

import { type CatalogKnowledge, NO_KNOWLEDGE } from '../sql/catalog-knowledge.ts';
import type { Inquiry } from './inquiry.ts';

export const CATALOG_QUERY = 'SELECT';

export function readCatalog(_rows: Inquiry['rows']): CatalogKnowledge {
  return NO_KNOWLEDGE;
}
