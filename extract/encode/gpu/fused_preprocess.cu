// Decoded frames -> network input: a pass over the lines, and a pass over the columns.
//
// The arithmetic is that of extract/decode/planes.py (RGB of planes) and integer_resize.py (whole
// weights, rounded after each axis), so the result is theirs, bit for bit. Nothing is included, and
// what threads do before and after they wait for each other is a function each, so that a C++
// compiler makes a test of it, too.
//
// Shapes: C channels (3), N frames, H, W pixels of a frame, h, w of what is kept of a resized one,
// M of its lines before they are resized, K weights of a resized pixel.

struct YuvMatrix {  // extract.decode.planes.YuvMatrix
    int black, luma, red_v, green_u, green_v, blue_u;
};

__device__ inline unsigned int level(int value) {
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

// Red, green and blue of a pixel, a byte each. planes: all of a frame's, H * 3 / 2 lines of W.
__device__ inline unsigned int rgb_of_planes(
    const unsigned char *planes, int height, int width, const YuvMatrix *matrix, int row, int column
) {
    const unsigned char *u = planes + (long long)height * width;
    long long place = (long long)(row / 2) * (width / 2) + column / 2;
    int blueness = 8 * u[place] - 8 * 128;
    int redness = 8 * u[place + (long long)(height / 2) * (width / 2)] - 8 * 128;
    int luma = 8 * planes[(long long)row * width + column] - matrix->black;
    int grey = luma * matrix->luma >> 16;
    int green = (blueness * matrix->green_u >> 16) + (redness * matrix->green_v >> 16);
    return level(grey + (redness * matrix->red_v >> 16)) | level(grey + green) << 8
        | level(grey + (blueness * matrix->blue_u >> 16)) << 16;
}

// Put num_lines lines of one frame, from a column on, where all threads of a block read them.
// matrix: of planes; none of RGB (H, W, 3).
__device__ inline void fill_tile(
    unsigned int *tile, const unsigned char *frame, int height, int width, const YuvMatrix *matrix,
    int first_row, int num_lines, int first_column, int num_columns
) {
    for (int line = threadIdx.y; line < num_lines; line += blockDim.y) {
        int row = first_row + line;
        for (int column = threadIdx.x; column < num_columns; column += blockDim.x) {
            unsigned int *pixel = tile + line * num_columns + column;
            if (matrix) {
                *pixel = rgb_of_planes(frame, height, width, matrix, row, first_column + column);
            } else {
                const unsigned char *rgb =
                    frame + 3 * ((long long)row * width + first_column + column);
                *pixel = rgb[0] | rgb[1] << 8 | rgb[2] << 16;
            }
        }
    }
}

// Write a column of resized lines. tile: of the same lines, from the column on that the first
// weight belongs to. lines_CMw: of one frame, from the first of the lines on.
__device__ inline void resize_tile(
    const unsigned int *tile, int num_columns, int num_lines, const short *weights_Kw, int num_weights,
    int precision, int column, int width, unsigned char *lines_CMw, long long channel_size
) {
    for (int line = threadIdx.y; line < num_lines; line += blockDim.y) {
        const unsigned int *pixels = tile + line * num_columns;
        int half = precision ? 1 << (precision - 1) : 0;
        int red = half, green = half, blue = half;
        for (int k = 0; k < num_weights; ++k) {
            int weight = weights_Kw[k * width + column];
            unsigned int pixel = pixels[k];
            red += weight * (int)(pixel & 255);
            green += weight * (int)(pixel >> 8 & 255);
            blue += weight * (int)(pixel >> 16);
        }
        unsigned char *place = lines_CMw + (long long)line * width + column;
        place[0] = level(red >> precision);
        place[channel_size] = level(green >> precision);
        place[2 * channel_size] = level(blue >> precision);
    }
}

// Resize the lines of frames from first_row on.
//   grid      N, M / tile_lines, w / blockDim.x, rounded up
//   shared    tile_lines lines of as many pixels as blockDim.x neighbours have weights for, 4 bytes each
//   frames    N times H * 3 / 2 lines of planes with their matrix, or N of RGB (H, W, 3)
//   starts_w  the column that the first of a resized pixel's weights belongs to
extern "C" __global__ void resize_lines(
    const unsigned char *frames, int height, int width, const YuvMatrix *matrix, int first_row,
    int num_rows, const int *starts_w, const short *weights_Kw, int num_weights, int precision,
    int new_width, int tile_lines, unsigned char *lines_NCMw
) {
    extern __shared__ unsigned int tile[];
    int first_line = blockIdx.y * tile_lines;
    int num_lines = min(tile_lines, num_rows - first_line);
    int first = blockIdx.z * blockDim.x;
    int last = min(first + (int)blockDim.x, new_width) - 1;
    int num_columns = starts_w[last] + num_weights - starts_w[first];
    long long pixels = (long long)height * width;
    const unsigned char *frame = frames + blockIdx.x * (matrix ? pixels * 3 / 2 : pixels * 3);
    fill_tile(
        tile, frame, height, width, matrix, first_row + first_line, num_lines, starts_w[first],
        num_columns
    );
    __syncthreads();
    int column = first + threadIdx.x;
    if (column > last) return;
    long long channel_size = (long long)num_rows * new_width;
    resize_tile(
        tile + starts_w[column] - starts_w[first], num_columns, num_lines, weights_Kw, num_weights,
        precision, column, new_width,
        lines_NCMw + blockIdx.x * 3 * channel_size + (long long)first_line * new_width, channel_size
    );
}

// Resize the columns of such lines, and normalise.
//   grid         N * C, h / blockDim.y, w / blockDim.x, rounded up
//   starts_h     the line that the first of a resized pixel's weights belongs to
//   values_CL    what becomes of each of 256 levels
extern "C" __global__ void resize_columns(
    const unsigned char *lines_NCMw, int num_lines, int width, const int *starts_h,
    const short *weights_Kh, int num_weights, int precision, int new_height, const float *values_CL,
    float *pixels_NChw
) {
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    int column = blockIdx.z * blockDim.x + threadIdx.x;
    if (row >= new_height || column >= width) return;
    const unsigned char *line =
        lines_NCMw + (long long)blockIdx.x * num_lines * width + (long long)starts_h[row] * width;
    int sum = precision ? 1 << (precision - 1) : 0;
    for (int k = 0; k < num_weights; ++k)
        sum += weights_Kh[k * new_height + row] * line[(long long)k * width + column];
    pixels_NChw[((long long)blockIdx.x * new_height + row) * width + column] =
        values_CL[blockIdx.x % 3 * 256 + level(sum >> precision)];
}
