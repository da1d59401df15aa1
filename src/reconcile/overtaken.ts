/** Another process wrote first. Nothing was lost: read what it wrote, and plan anew. */
export class Overtaken extends Error {
  override readonly name = 'Overtaken';
}
