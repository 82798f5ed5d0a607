/**
 * What a module that was imported exports as its default. A CommonJS module that a compiler has made of `export default` has it one level
 * deeper: what `import()` takes for the default are all of its exports.
 */
export function defaultOf(namespace: { readonly default?: unknown }): unknown {
  const exported = namespace.default;
  return isCompiled(exported) ? exported.default : exported;
}

function isCompiled(exported: unknown): exported is { readonly default: unknown } {
  if (typeof exported !== 'object' || exported === null) return false;
  return (exported as { __esModule?: unknown }).__esModule === true && 'default' in exported;
}
