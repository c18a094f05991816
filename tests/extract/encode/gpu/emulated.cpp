// What a C++ compiler needs to take CUDA C++, one thread at a time (emulated.py).
#include <algorithm>

#define __device__
#define __global__
#define __shared__
// Threads do not wait here: all of a block go as far as this, and then all go again, to the end.
#define __syncthreads() do { if (stops_here) return; } while (0)

struct Index { unsigned int x, y, z; };

using std::min;
static Index threadIdx, blockIdx, blockDim;
static bool stops_here;
unsigned int tile[48 * 1024 / 4];

#include KERNELS

template <class F> void each(Index of, Index &index, F work) {
    for (index.x = 0; index.x < of.x; ++index.x)
        for (index.y = 0; index.y < of.y; ++index.y)
            for (index.z = 0; index.z < of.z; ++index.z) work();
}

template <auto kernel> struct Emulated;
template <class... Arguments, void (*kernel)(Arguments...)> struct Emulated<kernel> {
    static void launch(Index grid, Index block, Arguments... arguments) {
        blockDim = block;
        each(grid, blockIdx, [&] {
            for (bool only_first : {true, false}) {
                stops_here = only_first;
                each(block, threadIdx, [&] { kernel(arguments...); });
            }
        });
    }
};

extern "C" {
auto *launch_resize_lines = Emulated<resize_lines>::launch;
auto *launch_resize_columns = Emulated<resize_columns>::launch;
}
