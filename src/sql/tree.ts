// Reading libpg-query's JSON tree: nodes are `{ SelectStmt: { … } }` where the field may hold several types, and the bare
// body where the type is fixed. Fields that are false, zero or empty are left out.

/** A node or its body. Fields are looked at by name, never trusted to be there. */
export interface TreeNode {
  readonly [field: string]: unknown;
}

const NO_NODES: readonly unknown[] = [];

export function isTreeNode(value: unknown): value is TreeNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The type of a wrapped node, such as `SelectStmt`; null for a bare body. Types begin with a capital, fields do not. */
export function nodeTypeOf(node: TreeNode): string | null {
  for (const key in node) {
    const first = key.charCodeAt(0);
    return first >= 65 && first <= 90 ? key : null;
  }
  return null;
}

/** The body of a wrapped node when it has that type. */
export function bodyOf(value: unknown, type: string): TreeNode | null {
  if (!isTreeNode(value)) return null;
  const body = value[type];
  return isTreeNode(body) ? body : null;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : NO_NODES;
}

export function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** The strings of a list of String nodes: the parts of a name. Other nodes are left out. */
export function nameParts(value: unknown): string[] {
  const parts: string[] = [];
  for (const item of listOf(value)) {
    const text = bodyOf(item, 'String')?.sval;
    if (typeof text === 'string') parts.push(text);
  }
  return parts;
}
