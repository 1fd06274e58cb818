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
/// A row with branches (<see cref="PackedBatch.Branches"/>) is several texts, which begin with the same tokens: queries, keys and values of those are
/// there once, and their gradients are summed over the texts.
/// The file has over 300 lines, so that the forward pass stands near the backward pass that undoes it.
/// </remarks>
internal sealed unsafe class PackedAttention
{
    private const int Queries = 4 * TileProduct.Rows;

    private readonly int heads, keyHeads, size, padded, half, window, width, longest;
    private readonly Text[][] rows;
    private readonly float scale;
    private readonly float* cos, sin;

    private PackedAttention(DecoderShape shape, DecoderFusedPass pass, LayerSettings settings)
    {
        (heads, keyHeads, size) = (shape.Sizes.Heads, shape.Sizes.KeyValueHeads, shape.Sizes.HeadSize);
        padded = Up(size);
        width = (heads + 2 * keyHeads) * size;
        window = settings.Window ?? int.MaxValue;
        rows = [.. Enumerable.Range(0, pass.Rows).Select(row => Texts(pass.Offsets[row], pass.Offsets[row + 1], pass.Branches?[row]))];
        scale = (float)(shape.AttentionScale ?? 1 / Math.Sqrt(size));
        if (pass.Turn(settings.Rope) is ({ } c, { } s))
        {
            cos = (float*)TensorPointer.Of(c);
            sin = (float*)TensorPointer.Of(s);
            half = (int)s.shape[2];
        }
        longest = rows.Max(texts => texts.Max(text => text.Length));
    }

    /// <summary>Tokens that see each other: those that its row's texts share, where it is not the first of them, and its own.</summary>
    /// <param name="Start">The first token of the row.</param>
    /// <param name="Shared">Tokens from there that are another text's, too, and are taken care of there.</param>
    /// <param name="Own">The first of its own tokens,</param>
    /// <param name="Count">and how many they are.</param>
    private readonly record struct Text(int Start, int Shared, int Own, int Count)
    {
        public int Length => Shared + Count;
    }

    private static Text[] Texts(int start, int end, int[]? branches) => branches is null ? [new(start, 0, start, end - start)]
        : [.. branches.Select((at, i) => (First: start + (i == 0 ? 0 : at), End: i == branches.Length - 1 ? end : start + branches[i + 1], Shared: i == 0 ? 0 : branches[0]))
            .Select(t => new Text(start, t.Shared, t.First, t.End - t.First))];

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
        attention.Run([.. attention.rows.SelectMany((texts, row) => texts.Select(text => (row, (Text[])[text])))], 3, 2, (row, texts, head, room) =>
            attention.Forward(row, texts[0], head, (float*)from, (float*)to, (float*)sums, (float*)keys, (float*)values, capacity, room));
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
        nint dy = (nint)TensorPointer.Of(outputGradient), x = (nint)TensorPointer.Of(qkv),
            sums = (nint)TensorPointer.Of(logSums), dx = (nint)TensorPointer.Of(gradient);
        attention.Run([.. attention.rows.Select((texts, row) => (row, texts))], 5, 5, (_, texts, head, room) =>
            attention.Backward(texts, head, (float*)dy, (float*)x, (float*)sums, (float*)dx, room));
        GC.KeepAlive(pass);
        return gradient;
    }

    private static int Up(int count) => (count + TileProduct.Columns - 1) / TileProduct.Columns * TileProduct.Columns;

    /// <summary>Gives each head of keys of some texts to a thread that is free, with room of its own.</summary>
    /// <param name="groups">Texts of a row that a thread takes one after another.</param>
    /// <param name="whole">Matrices of all tokens of a text that it needs,</param>
    /// <param name="some">and of some queries.</param>
    /// <param name="task">Given row, texts, head of keys and the room.</param>
    private void Run((int Row, Text[] Texts)[] groups, int whole, int some, Action<int, Text[], int, Room> task)
    {
        // The longest first, so that no thread is left with one in the end.
        (int Row, Text[] Texts, int Head)[] tasks = [.. groups.OrderByDescending(g => g.Texts.Sum(t => t.Length))
            .SelectMany(g => Enumerable.Range(0, keyHeads).Select(head => (g.Row, g.Texts, head)))];
        SharedWork.Run(tasks.Length, () =>
        {
            var room = new Room(this, whole, some);
            return i => task(tasks[i].Row, tasks[i].Texts, tasks[i].Head, room);
        });
    }

    private void Forward(int row, Text text, int head, float* qkv, float* output, float* logSums, float* cachedKeys, float* cachedValues, int capacity, Room room)
    {
        int t = text.Length, columns = Up(t), group = heads / keyHeads;
        float* keys = room.Whole(0), values = room.Whole(1), turnedKeys = room.Whole(2), q = room.Some(0);
        float* k = qkv + (heads + head) * size, v = k + (long)keyHeads * size;
        Gather(k, keys, text, turns: true);
        Gather(v, values, text, turns: false);
        Transpose(keys, turnedKeys, t, columns);
        for (int i = 0; i < t && cachedKeys is not null; i++)
        {
            long at = ((long)row * capacity + i) * keyHeads * size + head * size;
            new ReadOnlySpan<float>(keys + (long)i * padded, size).CopyTo(new Span<float>(cachedKeys + at, size));
            new ReadOnlySpan<float>(values + (long)i * padded, size).CopyTo(new Span<float>(cachedValues + at, size));
        }
        for (int h = head * group; h < (head + 1) * group; h++)
            for (int start = text.Shared; start < t; start += Queries)
            {
                int count = Math.Min(Queries, t - start), token = text.Own + start - text.Shared;
                var (from, seen) = Seen(start, count);
                Gather(qkv + (long)token * width + h * size, q, token, count, turns: true);
                TileProduct.Multiply(q, padded, 1, turnedKeys + from, columns, room.Scores, room.Columns, count, Up(seen), padded);
                for (int i = 0; i < count; i++)
                {
                    float* scores = room.Scores + (long)i * room.Columns;
                    int visible = Hide(scores, start + i, from, Up(seen));
                    var (max, sum) = Exponentials(scores, visible, scale);
                    logSums[(long)(token + i) * heads + h] = max + MathF.Log(sum);
                    room.Sums[i] = sum;
                }
                TileProduct.Multiply(room.Scores, room.Columns, 1, values + (long)from * padded, padded, q, padded, count, padded, seen);
                for (int i = 0; i < count; i++)
                {
                    float* to = output + ((long)(token + i) * heads + h) * size, o = q + i * padded;
                    float sum = room.Sums[i];
                    int d = 0;
                    for (; d <= size - 16; d += 16)
                        Vector512.Store(Vector512.Load(o + d) / sum, to + d);
                    for (; d < size; d++)
                        to[d] = o[d] / sum;
                }
            }
    }

    private void Backward(Text[] texts, int head, float* dy, float* qkv, float* logSums, float* dx, Room room)
    {
        float* dk = room.Whole(3), dv = room.Whole(4);
        int keyAt = (heads + head) * size, valueAt = keyAt + keyHeads * size, shared = texts[^1].Shared;
        new Span<float>(dk, shared * padded).Clear();
        new Span<float>(dv, shared * padded).Clear();
        foreach (var text in texts)
        {
            int count = text.Length - shared, token = text.Own + shared - text.Shared;
            new Span<float>(dk + (long)shared * padded, count * padded).Clear();
            new Span<float>(dv + (long)shared * padded, count * padded).Clear();
            Backward(text, head, dy, qkv, logSums, dx, dk, dv, room);
            Scatter(dk + (long)shared * padded, dx + (long)token * width + keyAt, token, count, scale, turns: true);
            Scatter(dv + (long)shared * padded, dx + (long)token * width + valueAt, token, count, 1, turns: false);
        }
        // What the texts share has by now the gradients of all of them.
        int start = texts[0].Start;
        Scatter(dk, dx + (long)start * width + keyAt, start, shared, scale, turns: true);
        Scatter(dv, dx + (long)start * width + valueAt, start, shared, 1, turns: false);
    }

    /// <summary>Gradients of a text's own queries; those of its keys and values are added to <paramref name="dk"/> and <paramref name="dv"/>.</summary>
    private void Backward(Text text, int head, float* dy, float* qkv, float* logSums, float* dx, float* dk, float* dv, Room room)
    {
        int t = text.Length, columns = Up(t), group = heads / keyHeads;
        float* keys = room.Whole(0), turnedKeys = room.Whole(1), turnedValues = room.Whole(2);
        float* q = room.Some(0), dq = room.Some(1), o = room.Some(2);
        Gather(qkv + (heads + keyHeads + head) * size, keys, text, turns: false);
        Transpose(keys, turnedValues, t, columns);
        Gather(qkv + (heads + head) * size, keys, text, turns: true);
        Transpose(keys, turnedKeys, t, columns);
        for (int h = head * group; h < (head + 1) * group; h++)
            for (int start = text.Shared; start < t; start += Queries)
            {
                int count = Math.Min(Queries, t - start), at = text.Own + start - text.Shared;
                var (from, seen) = Seen(start, count);
                long token = at;
                Gather(qkv + token * width + h * size, q, at, count, turns: true);
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
                Scatter(dq, dx + token * width + h * size, at, count, scale, turns: true);
            }
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

    /// <summary>A head's numbers of a text, one token after another.</summary>
    private void Gather(float* from, float* to, Text text, bool turns)
    {
        Gather(from + (long)text.Start * width, to, text.Start, text.Shared, turns);
        Gather(from + (long)text.Own * width, to + (long)text.Shared * padded, text.Own, text.Count, turns);
    }

    /// <summary>A head's numbers of some tokens, one token after another, turned by the angles of their positions.</summary>
    private void Gather(float* from, float* to, int token, int count, bool turns)
    {
        Copy(from, width, to, count);
        for (int i = 0; i < count && turns && cos is not null; i++)
            Turn(to + (long)i * padded, token + i, 1);
    }

    /// <summary>The way back of <see cref="Gather(float*, float*, int, int, bool)"/>, for gradients, which are scaled on it.</summary>
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
