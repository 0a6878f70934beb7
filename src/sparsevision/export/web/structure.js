// Puts the tensors of a graph together, as `sparsevision.runtimes.structure` describes them.

export function unflatten(structure, tensors) {
  if ("tensor" in structure) return tensors[structure.tensor];
  if ("length" in structure) return tensors[structure.length].dims[0];
  if ("kind" in structure) return unflattenAll(structure.fields, tensors);
  if ("mapping" in structure) return unflattenAll(structure.mapping, tensors);
  if ("items" in structure) return structure.items.map((item) => unflatten(item, tensors));
  return structure.value;
}

function unflattenAll(parts, tensors) {
  return Object.fromEntries(Object.entries(parts).map(([key, part]) => [key, unflatten(part, tensors)]));
}
