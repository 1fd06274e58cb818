using System.Runtime.Intrinsics;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// Causal attention over packed rows, forward and backward, with the queries and keys turned on the way: no row is padded, what a token
/// cannot see is hardly computed, and nothing of the size of [T, T] is kept. On processors with AVX-512, on libtorch's own threads.
/// </summary>
/// <remarks>
/// N packed tokens, rows of T of them, H heads of queries, K of keys and values, W = (H + 2 K) · head size: the queries, keys and values of a
/// token one after another. Queries are taken some at a time; their probabilities are computed anew in the backward pass, from the
/// logarithm of the sum of exponentials (Dao et al. 2022, "FlashAttention"). A row's numbers do not depend on other rows or threads.
/// The file has over 300 lines, so that the forward pass stands near the backward pass that undoes it.
/// </remarks>
internal sealed unsafe class PackedAttention
{
    private const int Queries = 4 * TileProduct.Rows;

    private readonly int heads, keyHeads, size, padded, half, window, width, longest;
    private readonly int[] offsets;
    private readonly (int Row, int Head)[] tasks;
    private readonly float scale;
    private readonly float* cos, sin;

    private PackedAttention(DecoderShape shape, DecoderFusedPass pass, LayerSettings settings)
    {
        (heads, keyHeads, size) = (shape.Sizes.Heads, shape.Sizes.KeyValueHeads, shape.Sizes.HeadSize);
        padded = Up(size);
        width = (heads + 2 * keyHeads) * size;
        window = settings.Window ?? int.MaxValue;
        offsets = pass.Offsets;
        scale = (float)(shape.AttentionScale ?? 1 / Math.Sqrt(size));
        if (pass.Turn(settings.Rope) is ({ } c, { } s))
        {
            cos = (float*)TensorPointer.Of(c);
            sin = (float*)TensorPointer.Of(s);
            half = (int)s.shape[2];
        }
        longest = Enumerable.Range(0, pass.Rows).Max(Length);
        // The longest first, so that no thread is left with one in the end.
        tasks = [.. Enumerable.Range(0, pass.Rows * keyHeads).Select(i => (i / keyHeads, i % keyHeads)).OrderByDescending(t => Length(t.Item1))];
    }

    /// <summary>Numbers of a batch's queries, N · H · head size, from which on attention is computed this way: what is small costs little in
    /// libtorch, too, and rounds there as in transformers. Tests set it.</summary>
    internal static long FewestNumbers { get; set; } = 1 << 16;

    /// <summary>Is attention computed this way? What this says no to is libtorch's.</summary>
    /// <param name="shape">The model.</param>
    /// <param name="batch">The rows.</param>
    public static bool Supports(DecoderShape shape, PackedBatch batch) =>
        TileProduct.IsSupported && MatrixProduct.Library == MatrixLibrary.OneDnn && batch.RowCount * shape.Sizes.KeyValueHeads >= get_num_threads()
        && (long)batch.TokenCount * shape.Sizes.Heads * shape.Sizes.HeadSize >= FewestNumbers;

    /// <summary>From queries, keys and values [N, W], not turned yet: attention's output [N, H · head size], and what the backward pass needs
    /// besides, [N, H]. Keeps keys and values in a cache's [rows, longest, K · head size], float32.</summary>
    public static (Tensor Output, Tensor LogSums) Forward(
        DecoderShape shape, DecoderFusedPass pass, LayerSettings settings, Tensor qkv, (Tensor Keys, Tensor Values)? cache)
    {
        var attention = new PackedAttention(shape, pass, settings);
        Tensor output = empty([qkv.shape[0], attention.heads * attention.size]), logSums = empty([qkv.shape[0], attention.heads]);
        nint from = (nint)TensorPointer.Of(qkv), to = (nint)TensorPointer.Of(output), sums = (nint)TensorPointer.Of(logSums);
        var (keys, values) = cache is var (k, v) ? ((nint)TensorPointer.Of(k), (nint)TensorPointer.Of(v)) : default;
        int capacity = cache is null ? 0 : (int)cache.Value.Keys.shape[1];
        attention.Run(3, 2, (row, head, room) =>
            attention.Forward(row, head, (float*)from, (float*)to, (float*)sums, (float*)keys, (float*)values, capacity, room));
        GC.KeepAlive(pass);
        return (output, logSums);
    }

    /// <summary>The gradient of queries, keys and values [N, W], before they are turned, from that of the output
    /// [N, H · head size] and what the forward pass was given and returned.</summary>
    public static Tensor Backward(
        DecoderShape shape, DecoderFusedPass pass, LayerSettings settings, Tensor outputGradient, Tensor qkv, Tensor output, Tensor logSums)
    {
        var attention = new PackedAttention(shape, pass, settings);
        var gradient = empty_like(qkv);
        nint dy = (nint)TensorPointer.Of(outputGradient), x = (nint)TensorPointer.Of(qkv), y = (nint)TensorPointer.Of(output),
            sums = (nint)TensorPointer.Of(logSums), dx = (nint)TensorPointer.Of(gradient);
        attention.Run(5, 5, (row, head, room) =>
            attention.Backward(row, head, (float*)dy, (float*)x, (float*)y, (float*)sums, (float*)dx, room));
        GC.KeepAlive(pass);
        return gradient;
    }

    private static int Up(int count) => (count + TileProduct.Columns - 1) / TileProduct.Columns * TileProduct.Columns;

    private int Length(int row) => offsets[row + 1] - offsets[row];

    /// <summary>Gives each row's head of keys to a thread that is free, with room of its own.</summary>
    /// <param name="whole">Matrices of all tokens of a row that it needs,</param>
    /// <param name="some">and of some queries.</param>
    /// <param name="task">Given row, head of keys and the room.</param>
    private void Run(int whole, int some, Action<int, int, Room> task) =>
        SharedWork.Run(tasks.Length, () =>
        {
            var room = new Room(this, whole, some);
            return i => task(tasks[i].Row, tasks[i].Head, room);
        });

    private void Forward(int row, int head, float* qkv, float* output, float* logSums, float* cachedKeys, float* cachedValues, int capacity, Room room)
    {
        int first = offsets[row], t = Length(row), columns = Up(t), group = heads / keyHeads;
        float* keys = room.Whole(0), values = room.Whole(1), turnedKeys = room.Whole(2), q = room.Some(0);
        float* k = qkv + (long)first * width + (heads + head) * size, v = k + (long)keyHeads * size;
        Gather(k, keys, first, t, turns: true);
        Gather(v, values, first, t, turns: false);
        Transpose(keys, turnedKeys, t, columns);
        for (int i = 0; i < t && cachedKeys is not null; i++)
        {
            long at = ((long)row * capacity + i) * keyHeads * size + head * size;
            new ReadOnlySpan<float>(keys + (long)i * padded, size).CopyTo(new Span<float>(cachedKeys + at, size));
            new ReadOnlySpan<float>(values + (long)i * padded, size).CopyTo(new Span<float>(cachedValues + at, size));
        }
        for (int h = head * group; h < (head + 1) * group; h++)
            for (int start = 0; start < t; start += Queries)
            {
                int count = Math.Min(Queries, t - start);
                var (from, seen) = Seen(start, count);
                Gather(qkv + (long)(first + start) * width + h * size, q, first + start, count, turns: true);
                TileProduct.Multiply(q, padded, 1, turnedKeys + from, columns, room.Scores, room.Columns, count, Up(seen), padded);
                for (int i = 0; i < count; i++)
                {
                    float* scores = room.Scores + (long)i * room.Columns;
                    int visible = Hide(scores, start + i, from, Up(seen));
                    var (max, sum) = Exponentials(scores, visible, scale);
                    logSums[(long)(first + start + i) * heads + h] = max + MathF.Log(sum);
                    room.Sums[i] = sum;
                }
                TileProduct.Multiply(room.Scores, room.Columns, 1, values + (long)from * padded, padded, q, padded, count, padded, seen);
                for (int i = 0; i < count; i++)
                {
                    float* to = output + ((long)(first + start + i) * heads + h) * size, o = q + i * padded;
                    float sum = room.Sums[i];
                    int d = 0;
                    for (; d <= size - 16; d += 16)
                        Vector512.Store(Vector512.Load(o + d) / sum, to + d);
                    for (; d < size; d++)
                        to[d] = o[d] / sum;
                }
            }
    }

    private void Backward(int row, int head, float* dy, float* qkv, float* output, float* logSums, float* dx, Room room)
    {
        int first = offsets[row], t = Length(row), columns = Up(t), group = heads / keyHeads;
        float* keys = room.Whole(0), turnedKeys = room.Whole(1), turnedValues = room.Whole(2), dk = room.Whole(3), dv = room.Whole(4);
        float* q = room.Some(0), dq = room.Some(1), o = room.Some(2);
        long keyAt = (long)first * width + (heads + head) * size, valueAt = keyAt + (long)keyHeads * size;
        Gather(qkv + valueAt, keys, first, t, turns: false);
        Transpose(keys, turnedValues, t, columns);
        Gather(qkv + keyAt, keys, first, t, turns: true);
        Transpose(keys, turnedKeys, t, columns);
        new Span<float>(dk, t * padded).Clear();
        new Span<float>(dv, t * padded).Clear();
        for (int h = head * group; h < (head + 1) * group; h++)
            for (int start = 0; start < t; start += Queries)
            {
                int count = Math.Min(Queries, t - start);
                var (from, seen) = Seen(start, count);
                long token = first + start;
                Gather(qkv + token * width + h * size, q, first + start, count, turns: true);
                Copy(dy + (token * heads + h) * size, heads * size, o, count);
                TileProduct.Multiply(q, padded, 1, turnedKeys + from, columns, room.Scores, room.Columns, count, Up(seen), padded);
                TileProduct.Multiply(o, padded, 1, turnedValues + from, columns, room.Gradients, room.Columns, count, Up(seen), padded);
                for (int i = 0; i < count; i++)
                {
                    float* scores = room.Scores + (long)i * room.Columns, gradients = room.Gradients + (long)i * room.Columns;
                    int visible = Hide(scores, start + i, from, Up(seen));
                    var shift = Vector512.Create(logSums[(token + i) * heads + h]);
                    var sums = Vector512<float>.Zero;
                    for (int j = 0; j < visible; j += 16)
                    {
                        var p = Vector512.Exp(Vector512.Load(scores + j) * scale - shift);
                        Vector512.Store(p, scores + j);
                        sums = Vector512.FusedMultiplyAdd(p, Vector512.Load(gradients + j), sums);
                    }
                    // The same as the output times its gradient, and closer to a sum of 0 over all keys.
                    var sum = Vector512.Create(Vector512.Sum(sums));
                    for (int j = 0; j < visible; j += 16)
                        Vector512.Store(Vector512.Load(scores + j) * (Vector512.Load(gradients + j) - sum), gradients + j);
                    new Span<float>(scores + visible, Up(seen) - visible).Clear();
                    new Span<float>(gradients + visible, Up(seen) - visible).Clear();
                }
                TileProduct.Multiply(room.Scores, 1, room.Columns, o, padded, dv + (long)from * padded, padded, seen, padded, count, adds: true);
                TileProduct.Multiply(room.Gradients, 1, room.Columns, q, padded, dk + (long)from * padded, padded, seen, padded, count, adds: true);
                TileProduct.Multiply(room.Gradients, room.Columns, 1, keys + (long)from * padded, padded, dq, padded, count, padded, seen);
                Scatter(dq, dx + token * width + h * size, first + start, count, scale, turns: true);
            }
        Scatter(dk, dx + keyAt, first, t, scale, turns: true);
        Scatter(dv, dx + valueAt, first, t, 1, turns: false);
    }

    /// <summary>The keys, from a multiple of <see cref="TileProduct.Columns"/> on, that some queries together may see.</summary>
    private (int From, int Count) Seen(int start, int count)
    {
        int from = Math.Max(0, start + 1 - window) / TileProduct.Columns * TileProduct.Columns;
        return (from, start + count - from);
    }

    /// <summary>Hides from a query what it may not see; returns how many scores, a multiple of 16, hold one that it may, and clears the others.</summary>
    private int Hide(float* scores, int query, int from, int count)
    {
        int end = query + 1 - from, visible = (end + 15) / 16 * 16;
        for (int j = end; j < visible; j++)
            scores[j] = float.NegativeInfinity;
        for (int j = 0; j < query + 1 - window - from; j++)
            scores[j] = float.NegativeInfinity;
        new Span<float>(scores + visible, count - visible).Clear();
        return visible;
    }

    /// <summary>Makes exponentials of scaled scores, less their maximum; returns that and their sum.</summary>
    private static (float Max, float Sum) Exponentials(float* scores, int count, float scale)
    {
        Vector512<float> most = Vector512.Create(float.NegativeInfinity), sums = default;
        for (int j = 0; j < count; j += 16)
        {
            var scaled = Vector512.Load(scores + j) * scale;
            most = Vector512.Max(most, scaled);
            Vector512.Store(scaled, scores + j);
        }
        float max = most[0];
        for (int lane = 1; lane < 16; lane++)
            max = Math.Max(max, most[lane]);
        var shift = Vector512.Create(max);
        for (int j = 0; j < count; j += 16)
        {
            var exps = Vector512.Exp(Vector512.Load(scores + j) - shift);
            sums += exps;
            Vector512.Store(exps, scores + j);
        }
        return (max, Vector512.Sum(sums));
    }

    private void Copy(float* from, int stride, float* to, int count)
    {
        for (int i = 0; i < count; i++, from += stride, to += padded)
        {
            new ReadOnlySpan<float>(from, size).CopyTo(new Span<float>(to, size));
            new Span<float>(to + size, padded - size).Clear();
        }
    }

    /// <summary>A head's numbers of some tokens, one token after another, turned by the angles of their positions.</summary>
    private void Gather(float* from, float* to, int token, int count, bool turns)
    {
        Copy(from, width, to, count);
        for (int i = 0; i < count && turns && cos is not null; i++)
            Turn(to + (long)i * padded, token + i, 1);
    }

    /// <summary>The way back of <see cref="Gather"/>, for gradients, which are scaled on it.</summary>
    private void Scatter(float* from, float* to, int token, int count, float factor, bool turns)
    {
        for (int i = 0; i < count; i++, from += padded, to += width)
        {
            if (factor != 1)
                Scale(from, factor);
            if (turns && cos is not null)
                Turn(from, token + i, -1);
            new ReadOnlySpan<float>(from, size).CopyTo(new Span<float>(to, size));
        }
    }

    private void Scale(float* numbers, float factor)
    {
        for (int d = 0; d < padded; d += 16)
            Vector512.Store(Vector512.Load(numbers + d) * factor, numbers + d);
    }

    /// <summary>Turns pairs of numbers of a head. Products are rounded before they are added, as in transformers.</summary>
    private void Turn(float* head, int token, float sign)
    {
        float* c = cos + (long)token * size, s = sin + (long)token * half, second = head + half;
        int i = 0;
        for (; i <= half - 16; i += 16)
        {
            Vector512<float> a = Vector512.Load(head + i), b = Vector512.Load(second + i), cosines = Vector512.Load(c + i), sines = Vector512.Load(s + i) * sign;
            Vector512.Store(a * cosines - b * sines, head + i);
            Vector512.Store(b * cosines + a * sines, second + i);
        }
        for (; i < half; i++)
        {
            float a = head[i], b = second[i], sine = s[i] * sign;
            head[i] = a * c[i] - b * sine;
            second[i] = b * c[i] + a * sine;
        }
    }

    /// <summary>[count, padded] to [padded, columns], with zeros beyond.</summary>
    private void Transpose(float* from, float* to, int count, int columns)
    {
        for (int d = 0; d < padded; d += 16)
            for (int t = 0; t < columns; t++)
                for (int i = d; i < d + 16; i++)
                    to[(long)i * columns + t] = t < count ? from[(long)t * padded + i] : 0;
    }

    /// <summary>What a thread works with.</summary>
    private sealed class Room
    {
        private readonly float* memory;
        private readonly long each, some;
        private readonly int whole;

        public Room(PackedAttention attention, int whole, int some)
        {
            Columns = Up(attention.longest);
            (this.whole, each, this.some) = (whole, (long)Columns * attention.padded, (long)Queries * attention.padded);
            long scores = (long)Queries * Columns;
            memory = ThreadRoom.Of(1, whole * each + some * this.some + 2 * scores + Queries);
            Scores = memory + whole * each + some * this.some;
            Gradients = Scores + scores;
            Sums = Gradients + scores;
        }

        public int Columns { get; }

        public float* Scores { get; }

        public float* Gradients { get; }

        public float* Sums { get; }

        /// <summary>A matrix of all tokens of the longest row.</summary>
        public float* Whole(int index) => memory + index * each;

        /// <summary>A matrix of some queries.</summary>
        public float* Some(int index) => memory + whole * each + index * some;
    }
}
