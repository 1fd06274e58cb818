using Rlhf.Models.Layers;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>Attention and feed-forward layer of every decoder in Llama's manner, composed of libtorch's operators.</summary>
/// <remarks>N packed tokens, B rows, T positions of the longest, D width, H heads of queries, K heads of keys and values.</remarks>
internal sealed partial class DecoderBlock
{
    private readonly DecoderShape shape;
    private readonly LayerSettings settings;
    private readonly Linear? query, key, value, qkv, gate, gateUp;
    private readonly Linear output, down;
    private readonly Linear? up;
    private readonly DecoderNorm? queryNorm, keyNorm, attentionNorm, attentionOutputNorm, mlpNorm, mlpOutputNorm;
    private readonly int heads, keyHeads, headSize;
    private readonly double queryScale;

    public DecoderBlock(DecoderShape shape, int layer, NamedParameters parameters)
    {
        (this.shape, settings, ShapeKey) = (shape, shape.Layers[layer], DecoderScriptKey.Of(shape));
        var (sizes, names) = (shape.Sizes, shape.Names);
        (heads, keyHeads, headSize) = (sizes.Heads, sizes.KeyValueHeads, sizes.HeadSize);
        // Attention itself divides by √(head size).
        queryScale = shape.AttentionScale is { } scale ? scale * Math.Sqrt(headSize) : 1;
        string at = $"{names.Prefix}layers.{layer}.", attention = at + names.Attention;
        int d = sizes.Width, inner = sizes.InnerWidth, q = heads * headSize, kv = sizes.KeyValueWidth;
        List<Linear> linears = [];
        List<DecoderNorm> norms = [];

        bool before = shape.Placement != NormPlacement.After, after = shape.Placement != NormPlacement.Before;
        if (before)
            attentionNorm = Norm(at + names.AttentionNorm, d);
        if (shape.Qkv == QkvLayout.Separate)
        {
            query = Add(attention + names.Query, d, q, shape.HasQkvBias);
            key = Add(attention + names.Key, d, kv, shape.HasQkvBias);
            value = Add(attention + names.Value, d, kv, shape.HasQkvBias);
        }
        else
            qkv = Add(attention + names.Qkv, d, q + 2 * kv, shape.HasQkvBias);
        output = Add(attention + names.Output, q, d, shape.HasOutputBias);
        if (shape.QueryKeyNorm != QueryKeyNorm.None)
        {
            bool whole = shape.QueryKeyNorm == QueryKeyNorm.Whole;
            queryNorm = Norm(attention + names.QueryNorm, whole ? q : headSize);
            keyNorm = Norm(attention + names.KeyNorm, whole ? kv : headSize);
        }
        if (after)
            attentionOutputNorm = Norm(at + names.AttentionOutputNorm, d);
        if (before)
            mlpNorm = Norm(at + names.MlpNorm, d);
        if (shape.JoinsGateAndUp)
            gateUp = Add(at + names.GateUp, d, 2 * inner, shape.HasMlpBias);
        else
        {
            if (sizes.IsGated)
                gate = Add(at + names.Gate, d, inner, shape.HasMlpBias);
            up = Add(at + names.Up, d, inner, shape.HasMlpBias);
        }
        down = Add(at + names.Down, inner, d, shape.HasMlpBias);
        if (after)
            mlpOutputNorm = Norm(at + names.MlpOutputNorm, d);
        (Linears, Norms) = (linears, norms);

        Linear Add(string name, int inputs, int outputs, bool hasBias)
        {
            linears.Add(Linear.Add(parameters, name, inputs, outputs, hasBias));
            return linears[^1];
        }
        DecoderNorm Norm(string name, int width)
        {
            norms.Add(DecoderNorm.Add(parameters, name, width, shape.Norm, shape.NormEpsilon));
            return norms[^1];
        }
    }

    public IReadOnlyList<Linear> Linears { get; }

    public IReadOnlyList<DecoderNorm> Norms { get; }

    public DecoderShape Shape => shape;

    public LayerSettings Settings => settings;

    /// <summary>Blocks of equal keys differ in their weights alone.</summary>
    public string ShapeKey { get; }

    /// <summary>Where its weights lay when a decoding step last asked.</summary>
    public StoredBlock? Stored { get; set; }

    /// <summary>What the block computes with now, as <see cref="DecoderScript"/> names it.</summary>
    public BlockWeights Weights()
    {
        var weights = new BlockWeights();
        weights.Add("an", attentionNorm);
        weights.Add("q", query);
        weights.Add("k", key);
        weights.Add("v", value);
        weights.Add("qkv", qkv);
        weights.Add("qn", queryNorm);
        weights.Add("kn", keyNorm);
        weights.Add("o", output);
        weights.Add("aon", attentionOutputNorm);
        weights.Add("mn", mlpNorm);
        weights.Add("g", gate);
        weights.Add("u", up);
        weights.Add("gu", gateUp);
        weights.Add("d", down);
        weights.Add("mon", mlpOutputNorm);
        return weights;
    }

    /// <summary>[N, D] to [N, D]; with a cache, keeps the keys and values of every row.</summary>
    public Tensor Forward(Tensor x, PackedBatch batch, DecoderPass pass, (Tensor Keys, Tensor Values)? cache, bool training)
    {
        // Lets go of what autograd did not save.
        using var scope = NewDisposeScope();
        return Apply(x, normed => AttendOver(normed, batch, pass, cache, training), training).MoveToOuterDisposeScope();
    }

    /// <summary>One token for each row of the cache: [rows, D] to [rows, D].</summary>
    public Tensor Decode(Tensor x, DecoderPass step, Tensor keys, Tensor values)
    {
        using var scope = NewDisposeScope();
        return Apply(x, normed => AttendFrom(normed, step, keys, values), training: false).MoveToOuterDisposeScope();
    }

    private Tensor Apply(Tensor x, Func<Tensor, Tensor> attend, bool training)
    {
        var attended = Drop(Normed(attentionOutputNorm, output.Apply(attend(Normed(attentionNorm, x)))), training);
        if (shape.IsParallel)
            return x + attended + Drop(FeedForward(Normed(mlpNorm, x)), training);
        x = x + attended;
        return x + Drop(Normed(mlpOutputNorm, FeedForward(Normed(mlpNorm, x))), training);
    }

    private Tensor FeedForward(Tensor x)
    {
        if (gateUp is not null)
        {
            var both = gateUp.Apply(x);
            int inner = shape.Sizes.InnerWidth;
            return down.Apply(Activations.Apply(shape.Activation, both.narrow(1, 0, inner)) * both.narrow(1, inner, inner));
        }
        var widened = up!.Apply(x);
        return down.Apply(gate is null ? Activations.Apply(shape.Activation, widened)
            : Activations.Apply(shape.Activation, gate.Apply(x)) * widened);
    }

    /// <summary>Queries [N, H, head size], keys and values [N, K, head size], normalized and turned.</summary>
    private (Tensor Q, Tensor K, Tensor V) Project(Tensor x, DecoderPass pass)
    {
        long n = x.shape[0];
        Tensor q, k, v;
        if (qkv is null)
            (q, k, v) = (query!.Apply(x), key!.Apply(x), value!.Apply(x));
        else if (qkv.Apply(x) is var all && shape.Qkv == QkvLayout.ByHead)
        {
            var perHead = all.view(n, heads, 3 * headSize);
            (q, k, v) = (perHead.narrow(2, 0, headSize), perHead.narrow(2, headSize, headSize), perHead.narrow(2, 2 * headSize, headSize));
        }
        else
        {
            int width = heads * headSize, kv = keyHeads * headSize;
            (q, k, v) = (all.narrow(1, 0, width), all.narrow(1, width, kv), all.narrow(1, width + kv, kv));
        }
        if (shape.QueryKeyNorm == QueryKeyNorm.Whole)
            (q, k) = (queryNorm!.Apply(q), keyNorm!.Apply(k));
        (q, k, v) = (q.reshape(n, heads, headSize), k.reshape(n, keyHeads, headSize), v.reshape(n, keyHeads, headSize));
        if (shape.QueryKeyNorm == QueryKeyNorm.PerHead)
            (q, k) = (queryNorm!.Apply(q), keyNorm!.Apply(k));
        q = pass.Rotate(q, settings.Rope);
        return (queryScale == 1 ? q : q * queryScale, pass.Rotate(k, settings.Rope), v);
    }

    /// <summary>Attention within each row: [N, D] to [N, H · head size].</summary>
    private Tensor AttendOver(Tensor x, PackedBatch batch, DecoderPass pass, (Tensor Keys, Tensor Values)? cache, bool training)
    {
        var (q, k, v) = Project(x, pass);
        (q, k, v) = (batch.Pad(q), batch.Pad(k), batch.Pad(v)); // [B, T, heads, head size]
        if (cache is var (keys, values))
        {
            using var noGrad = no_grad();
            keys.narrow(1, 0, batch.MaxLength).copy_(k.flatten(2));
            values.narrow(1, 0, batch.MaxLength).copy_(v.flatten(2));
        }
        var attended = Attend(q.transpose(1, 2), Repeat(k.transpose(1, 2)), Repeat(v.transpose(1, 2)), pass.Mask(settings.Window),
            isCausal: true, training);
        return batch.Pack(attended.transpose(1, 2).flatten(2));
    }

    /// <summary>Attention of one token of each row to what the cache holds: [rows, D] to [rows, H · head size].</summary>
    private Tensor AttendFrom(Tensor x, DecoderPass step, Tensor keys, Tensor values)
    {
        var (q, k, v) = Project(x, step);
        int width = keyHeads * headSize;
        keys.view(-1, width).index_copy_(0, step.Slots!, k.flatten(1));
        values.view(-1, width).index_copy_(0, step.Slots!, v.flatten(1));
        // The queries that share a head of keys stand where positions do: [rows, K, H / K, head size].
        var attended = Attend(q.view(step.Rows, keyHeads, heads / keyHeads, headSize), Cached(keys), Cached(values),
            step.Mask(settings.Window), isCausal: false, training: false);
        return attended.reshape(step.Rows, heads * headSize);

        Tensor Cached(Tensor all) => all.narrow(0, 0, step.Rows).narrow(1, 0, step.Longest)
            .view(step.Rows, step.Longest, keyHeads, headSize).transpose(1, 2);
    }

    private Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, bool isCausal, bool training)
    {
        double drop = training ? shape.AttentionDropout : 0;
        if (shape.AttentionCap is not { } cap)
            return nn.functional.scaled_dot_product_attention(q, k, v, mask, drop, is_casual: isCausal && mask is null);
        var scores = q.matmul(k.transpose(-2, -1)).mul(1 / (Math.Sqrt(headSize) * cap)).tanh().mul(cap);
        if (mask is not null)
            scores = scores.masked_fill(mask.logical_not(), double.NegativeInfinity);
        var weights = scores.to(float32).softmax(-1).to(v.dtype);
        return (drop > 0 ? nn.functional.dropout(weights, drop, true) : weights).matmul(v);
    }

    /// <summary>[B, K, T, head size] to [B, H, T, head size]: each head of keys for the queries that share it.</summary>
    private Tensor Repeat(Tensor x) => heads == keyHeads ? x
        : x.unsqueeze(2).expand(-1, -1, heads / keyHeads, -1, -1).flatten(1, 2);

    private static Tensor Normed(DecoderNorm? norm, Tensor x) => norm is null ? x : norm.Apply(x);

    private Tensor Drop(Tensor x, bool training) =>
        training && shape.ResidualDropout > 0 ? nn.functional.dropout(x, shape.ResidualDropout, true) : x;
}
