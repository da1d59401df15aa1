/** The names of what a product's metadata is signed under. */

export function artifactsRole(product: string): string {
  return `artifacts-${product}`;
}

export function manifestsRole(product: string): string {
  return `manifests-${product}`;
}

/** The product of an `artifacts-` or `manifests-` role. */
export function productOf(role: string): string {
  return role.slice(role.indexOf('-') + 1);
}
