// Puts the table of one instruction set together. Included in each folder's kernels.cc, after all the others.

Kernels make_kernels(const char* name, const quant::Dequantizers& dequantizers) {
  Kernels kernels = {};
  kernels.name = name;
  kernels.dequantize = dequantizers.to_float;
  fill_tiles(kernels);
  fill_rows(kernels);
  return kernels;
}
