using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// Decoding steps of a few rows, all blocks in one go, without libtorch: its threads meet twenty times a block, these five times, and each
/// weight is read once, in order (<see cref="RowProduct"/>). The numbers are those of <see cref="DecoderBlock.Decode"/> but for rounding.
/// </summary>
/// <remarks>M rows, D width, H heads of queries, K of keys and values, G = H / K, F inner width.</remarks>
internal sealed unsafe class DecoderRows : IDisposable
{
    private readonly DecoderShape shape;
    private readonly int rows, width, inner, heads, keyHeads, size, qkvWidth, maxLength, threads;
    private readonly List<nint> buffers = [];
    private readonly float* x, qkv, o, g, u;
    private readonly float*[] own, scores, narrow;
    private readonly int[] positions;
    private readonly bool keepsBfloat16;
    private readonly float scale;
    private readonly (nint Cos, nint Sin, int Half)?[] turns;

    private DecoderRows(DecoderShape shape, DecoderPass step, KeyValueCache cache, long[] positions, int threads, int rank)
    {
        this.shape = shape;
        (width, inner, heads, keyHeads, size) =
            (shape.Sizes.Width, shape.Sizes.InnerWidth, shape.Sizes.Heads, shape.Sizes.KeyValueHeads, shape.Sizes.HeadSize);
        (rows, maxLength, this.threads) = (positions.Length, cache.MaxLength, threads);
        this.positions = [.. positions.Select(p => (int)p)];
        qkvWidth = (heads + 2 * keyHeads) * size;
        keepsBfloat16 = cache.Keys[0].dtype == ScalarType.BFloat16;
        scale = (float)(shape.AttentionScale ?? 1 / Math.Sqrt(size));
        x = Buffer(rows * width);
        qkv = Buffer(rows * qkvWidth);
        o = Buffer(rows * heads * size);
        g = Buffer(rows * inner);
        u = Buffer(rows * inner);
        own = new float*[threads];
        scores = new float*[threads];
        narrow = new float*[threads];
        int longest = this.positions.Max() + 1;
        for (int i = 0; i < threads; i++)
        {
            own[i] = Buffer(rows * width);
            scores[i] = Buffer(heads / keyHeads * longest);
            narrow[i] = Buffer(Math.Max(1, rows * rank));
        }
        turns = [.. step.Turns.Select(t => t is var (cos, sin)
            ? ((nint)TensorPointer.Of(cos.to(float32).contiguous()), (nint)TensorPointer.Of(sin.to(float32).contiguous()), (int)cos.shape[2]) : ((nint, nint, int)?)null)];
    }

    /// <summary>Can a step be taken this way? What this says no to goes through <see cref="DecoderFusedBlock"/>, if that can.</summary>
    public static bool Supports(DecoderShape shape, IReadOnlyList<DecoderBlock> blocks, int rows) =>
        RowProduct.IsSupported && rows <= RowProduct.MaxRows && MatrixProduct.Precision == MatrixPrecision.Float32
        && DecoderFusedBlock.Supports(shape, blocks, training: false)
        && shape.Norm != NormKind.Layer && shape.Placement == NormPlacement.Before && !shape.IsParallel && shape.Sizes.IsGated
        && shape.Qkv == QkvLayout.Separate && !shape.JoinsGateAndUp && shape.Activation is "silu" or "swish"
        && shape.QueryKeyNorm != QueryKeyNorm.Whole && shape.Sizes.HeadSize % 16 == 0
        && blocks.All(b => b.Linears.All(l => l.Weight.is_contiguous() && l.Weight is not Int8Parameter { OutputAxis: not 0 }));

    /// <summary>One token for each row: [M, D] to [M, D], float32; keys and values go into the cache. In a dispose scope.</summary>
    public static Tensor Decode(
        DecoderShape shape, IReadOnlyList<DecoderBlock> blocks, Tensor hidden, DecoderPass step, KeyValueCache cache, long[] positions)
    {
        var y = hidden.to(float32, copy: true).contiguous();
        int rank = blocks.SelectMany(b => b.Linears).Max(l => (int?)l.Adapter?.A.shape[0]) ?? 0;
        using var rows = new DecoderRows(shape, step, cache, positions, get_num_threads(), rank);
        long count = y.numel();
        float* memory = (float*)TensorPointer.Of(y);
        new ReadOnlySpan<float>(memory, (int)count).CopyTo(new Span<float>(rows.x, (int)count));
        Layer[] layers = [.. blocks.Select((b, i) => new Layer(StoredBlock.Of(b), (nint)TensorPointer.Of(cache.Keys[i]), (nint)TensorPointer.Of(cache.Values[i])))];
        ThreadTeam.Run(rows.threads, (team, member) =>
        {
            for (int i = 0; i < layers.Length; i++)
                rows.Step(layers[i], i + 1 < layers.Length ? layers[i + 1] : null, team, member);
        });
        new ReadOnlySpan<float>(rows.x, (int)count).CopyTo(new Span<float>(memory, (int)count));
        GC.KeepAlive(layers);
        return y;
    }

    public void Dispose()
    {
        foreach (nint buffer in buffers)
            NativeMemory.AlignedFree((void*)buffer);
    }

    private void Step(Layer layer, Layer? following, ThreadTeam team, int member)
    {
        int queries = heads * size, keys = keyHeads * size;
        var weights = layer.Weights;
        Normalize(x, own[member], rows, width, weights.AttentionNorm);
        Multiply(own[member], weights.Query, qkv, qkvWidth, weights.Key);
        Multiply(own[member], weights.Key, qkv + queries, qkvWidth, weights.Value);
        Multiply(own[member], weights.Value, qkv + queries + keys, qkvWidth, weights.Output);
        var (start, end) = team.Part(rows * keyHeads, member, 1);
        Fetch(start);
        team.Meet();
        for (int i = start; i < end; i++)
        {
            Fetch(i + 1);
            Attend(layer, i / keyHeads, i % keyHeads, scores[member]);
        }
        team.Meet();
        Multiply(o, weights.Output, x, width, weights.Gate, adds: true);
        team.Meet();
        Normalize(x, own[member], rows, width, weights.MlpNorm);
        var (first, last) = Multiply(own[member], weights.Gate, g, inner, weights.Up);
        Multiply(own[member], weights.Up, u, inner, weights.Down);
        for (int r = 0; r < rows; r++)
            Gate(g + r * inner + first, u + r * inner + first, last - first);
        team.Meet();
        Multiply(g, weights.Down, x, width, following?.Weights.Query, adds: true);
        team.Meet();

        (int, int) Multiply(float* from, StoredLinear linear, float* to, int stride, StoredLinear? next, bool adds = false)
        {
            var (begin, stop) = team.Part(linear.Weight.Outputs, member, 4);
            RowProduct.Multiply(from, rows, linear.Weight, to, stride, begin, stop, adds,
                next is { Weight: var upcoming } ? (upcoming, team.Part(upcoming.Outputs, member, 4).Start) : null);
            if (linear is { A: { } a, B: { } b })
            {
                // Each thread for itself: less than another meeting of all of them costs.
                float* inner = narrow[member];
                RowProduct.Multiply(from, rows, a, inner, a.Outputs, 0, a.Outputs);
                for (int i = 0; i < rows * a.Outputs; i++)
                    inner[i] *= linear.Scale;
                RowProduct.Multiply(inner, rows, b, to, stride, begin, stop, adds: true);
            }
            return (begin, stop);
        }
        void Fetch(int i)
        {
            if (i >= end)
                return;
            RowProduct.Fetch(Seen(layer, layer.Keys, i / keyHeads, i % keyHeads));
            RowProduct.Fetch(Seen(layer, layer.Values, i / keyHeads, i % keyHeads));
        }
    }

    /// <summary>Attention of one row's queries that share a head of keys.</summary>
    private void Attend(Layer layer, int row, int head, float* weights)
    {
        int group = heads / keyHeads, keyWidth = keyHeads * size;
        var block = layer.Weights;
        float* q = qkv + (long)row * qkvWidth + head * group * size;
        float* k = qkv + (long)row * qkvWidth + (heads + head) * size, v = k + keyWidth;
        if (block.QueryNorm is { } queryNorm && block.KeyNorm is { } keyNorm)
        {
            Normalize(q, q, group, size, queryNorm);
            Normalize(k, k, 1, size, keyNorm);
        }
        if (block.Settings.Rope is { } rope && turns[rope] is var (cos, sin, half))
        {
            for (int i = 0; i < group; i++)
                Turn(q + i * size, (float*)cos + row * half, (float*)sin + row * half, half);
            Turn(k, (float*)cos + row * half, (float*)sin + row * half, half);
        }
        long at = ((long)row * maxLength + positions[row]) * keyWidth + head * size;
        Keep(k, layer.Keys, at);
        Keep(v, layer.Values, at);
        var seen = Seen(layer, layer.Keys, row, head);
        RowProduct.Multiply(q, group, seen, weights, seen.Outputs, 0, seen.Outputs);
        for (int i = 0; i < group; i++)
            Softmax(weights + i * seen.Outputs, seen.Outputs);
        RowProduct.Combine(weights, group, Seen(layer, layer.Values, row, head), o + ((long)row * heads + head * group) * size);
    }

    /// <summary>What a row sees of a head's keys or values: [seen tokens, head size].</summary>
    private StoredMatrix Seen(Layer layer, nint cached, int row, int head)
    {
        int keyWidth = keyHeads * size, end = positions[row] + 1, from = Math.Max(0, end - (layer.Weights.Settings.Window ?? end));
        long begin = ((long)row * maxLength + from) * keyWidth + head * size;
        return new StoredMatrix
        {
            Weight = keepsBfloat16 ? (ushort*)cached + begin : (float*)cached + begin,
            Inputs = size,
            Outputs = end - from,
            Stride = keyWidth,
            IsBfloat16 = keepsBfloat16,
        };
    }

    private void Keep(float* from, nint to, long at)
    {
        for (int i = 0; i < size; i++)
            if (keepsBfloat16)
            {
                // To the nearest, ties to even.
                uint bits = BitConverter.SingleToUInt32Bits(from[i]);
                ((ushort*)to)[at + i] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
            }
            else
                ((float*)to)[at + i] = from[i];
    }

    /// <summary>SiLU of the gate's numbers times the others.</summary>
    private static void Gate(float* gate, float* up, int count)
    {
        int i = 0;
        for (; i <= count - 16; i += 16)
        {
            var v = Vector512.Load(gate + i);
            Vector512.Store(v / (Vector512<float>.One + Vector512.Exp(-v)) * Vector512.Load(up + i), gate + i);
        }
        for (; i < count; i++)
            gate[i] = gate[i] / (1 + MathF.Exp(-gate[i])) * up[i];
    }

    private void Softmax(float* values, int count)
    {
        float max = float.NegativeInfinity, sum = 0;
        Vector512<float> most = Vector512.Create(max), sums = Vector512<float>.Zero;
        int i = 0;
        for (; i <= count - 16; i += 16)
            most = Vector512.Max(most, Vector512.Load(values + i));
        for (int lane = 0; lane < 16 && i > 0; lane++)
            max = Math.Max(max, most[lane]);
        for (; i < count; i++)
            max = Math.Max(max, values[i]);
        for (i = 0; i <= count - 16; i += 16)
        {
            var exps = Vector512.Exp((Vector512.Load(values + i) - Vector512.Create(max)) * scale);
            sums += exps;
            Vector512.Store(exps, values + i);
        }
        for (; i < count; i++)
            sum += values[i] = MathF.Exp((values[i] - max) * scale);
        sum += Vector512.Sum(sums);
        for (i = 0; i <= count - 16; i += 16)
            Vector512.Store(Vector512.Load(values + i) / sum, values + i);
        for (; i < count; i++)
            values[i] /= sum;
    }

    private static void Turn(float* head, float* cos, float* sin, int half)
    {
        for (int i = 0; i < half; i++)
        {
            float first = head[i], second = head[half + i];
            head[i] = first * cos[i] - second * sin[i];
            head[half + i] = second * cos[i] + first * sin[i];
        }
    }

    private void Normalize(float* from, float* to, int count, int length, nint weight)
    {
        float* gain = (float*)weight;
        float more = shape.Norm == NormKind.RmsPlusOne ? 1 : 0;
        for (int r = 0; r < count; r++, from += length, to += length)
        {
            var sums = Vector512<float>.Zero;
            float squares = 0;
            int i = 0;
            for (; i <= length - 16; i += 16)
                sums = Vector512.FusedMultiplyAdd(Vector512.Load(from + i), Vector512.Load(from + i), sums);
            for (; i < length; i++)
                squares += from[i] * from[i];
            float factor = 1 / MathF.Sqrt((float)((squares + Vector512.Sum(sums)) / length + shape.NormEpsilon));
            for (i = 0; i <= length - 16; i += 16)
                Vector512.Store(Vector512.Load(from + i) * factor * (Vector512.Load(gain + i) + Vector512.Create(more)), to + i);
            for (; i < length; i++)
                to[i] = from[i] * factor * (gain[i] + more);
        }
    }

    private float* Buffer(int count)
    {
        void* memory = NativeMemory.AlignedAlloc((nuint)count * sizeof(float), 64);
        buffers.Add((nint)memory);
        return (float*)memory;
    }

    /// <summary>A block's weights and its part of the cache.</summary>
    private sealed record Layer(StoredBlock Weights, nint Keys, nint Values);
}
