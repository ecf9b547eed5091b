// Puts the table of one instruction set together. Included in each folder's kernels.cc, after all the others.

Kernels make_kernels(const char* name) {
  Kernels kernels = {};
  kernels.name = name;
  kernels.dequantize = dequantize_kernel;
  fill_tiles(kernels);
  fill_rows(kernels);
  return kernels;
}
