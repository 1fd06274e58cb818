using Rlhf.Models.Layers;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Gpt2;

/// <summary>Attention and feed-forward layer, each on the normalized input, each added to the residual stream.</summary>
internal sealed partial class Gpt2Block
{
    private readonly Parameter ln1Weight, ln1Bias, ln2Weight, ln2Bias;
    private readonly Linear attn, attnProj, fc, proj;
    private readonly long[] normalized;
    private readonly int headSize;
    private readonly double queryScale;

    public Gpt2Block(Gpt2Config config, int layer, NamedParameters parameters)
    {
        Config = config;
        normalized = [config.NEmbd];
        headSize = config.NEmbd / config.NHead;
        // Attention itself divides by √(head size).
        queryScale = (config.ScaleAttnWeights ? 1 : Math.Sqrt(headSize))
            / (config.ScaleAttnByInverseLayerIdx ? layer + 1 : 1);
        string at = $"transformer.h.{layer}.";
        int d = config.NEmbd, inner = config.InnerSize;
        Linear Add(string name, int inputs, int outputs) => Linear.Add(parameters, at + name, inputs, outputs, isConv1D: true);
        ln1Weight = parameters.Add(at + "ln_1.weight", d);
        ln1Bias = parameters.Add(at + "ln_1.bias", d);
        attn = Add("attn.c_attn", d, 3 * d);
        attnProj = Add("attn.c_proj", d, d);
        ln2Weight = parameters.Add(at + "ln_2.weight", d);
        ln2Bias = parameters.Add(at + "ln_2.bias", d);
        fc = Add("mlp.c_fc", d, inner);
        proj = Add("mlp.c_proj", inner, d);
        Linears = [attn, attnProj, fc, proj];
    }

    public Gpt2Config Config { get; }

    /// <summary>The linear layers.</summary>
    public Linear[] Linears { get; }

    /// <summary>The 12 parameters that the block computes with, in the checkpoint's order; those of an adapter where they stand in.</summary>
    public Tensor[] Parameters =>
    [
        ln1Weight, ln1Bias, attn.Weight, attn.Bias!, attnProj.Weight, attnProj.Bias!, ln2Weight, ln2Bias,
        fc.Weight, fc.Bias!, proj.Weight, proj.Bias!,
    ];

    /// <summary>Is an adapter's update beside one of the layers?</summary>
    public bool HasAdapter => Linears.Any(l => l.Adapter is not null);

    /// <summary>Does anything need a gradient, an adapter's update included?</summary>
    public bool AnyTrained =>
        Parameters.Any(p => p.requires_grad) || Linears.Any(l => l.Adapter is { } adapter && adapter.Parameters.Any(p => p.requires_grad));

    /// <summary>What the products of queries and keys are multiplied with.</summary>
    public double AttentionScale => queryScale / Math.Sqrt(headSize);

    /// <summary>[N, D] to [N, D]; with a cache, keeps the keys and values of every row.</summary>
    public Tensor Forward(Tensor x, PackedBatch batch, (Tensor Keys, Tensor Values)? cache, bool training)
    {
        // Lets go of what autograd did not save.
        using var scope = NewDisposeScope();
        var qkv = batch.Pad(attn.Apply(Normalize(x, ln1Weight, ln1Bias)));
        var (q, k, v) = Split(qkv);
        if (cache is { } c)
        {
            using var noGrad = no_grad();
            c.Keys.narrow(1, 0, batch.MaxLength).copy_(k);
            c.Values.narrow(1, 0, batch.MaxLength).copy_(v);
        }
        // Rows are padded on the right, so that the causal mask already hides the padding from every token.
        var attended = nn.functional.scaled_dot_product_attention(Heads(Scale(q)), Heads(k), Heads(v),
            p: training ? Config.AttnPdrop : 0, is_casual: true);
        return FeedForward(Residual(x, batch.Pack(attended.transpose(1, 2).reshape(q.shape)), training), training)
            .MoveToOuterDisposeScope();
    }

    /// <summary>One token for each row: [rows, D] to [rows, D].</summary>
    public Tensor Decode(Tensor x, Gpt2DecodingStep step, Tensor keys, Tensor values)
    {
        var qkv = attn.Apply(Normalize(x, ln1Weight, ln1Bias));
        var (q, k, v) = Split(qkv.unsqueeze(1));
        keys.view(-1, Config.NEmbd).index_copy_(0, step.Slots, k.squeeze(1));
        values.view(-1, Config.NEmbd).index_copy_(0, step.Slots, v.squeeze(1));
        var attended = nn.functional.scaled_dot_product_attention(Heads(Scale(q)),
            Heads(keys.narrow(0, 0, step.Rows).narrow(1, 0, step.Longest)),
            Heads(values.narrow(0, 0, step.Rows).narrow(1, 0, step.Longest)), attn_mask: step.Mask);
        return FeedForward(Residual(x, attended.transpose(1, 2).reshape(step.Rows, Config.NEmbd), false), false);
    }

    private Tensor Residual(Tensor x, Tensor attended, bool training) =>
        x + Dropout(attnProj.Apply(attended), training);

    private Tensor FeedForward(Tensor x, bool training)
    {
        var inner = Activations.Apply(Config.ActivationFunction, fc.Apply(Normalize(x, ln2Weight, ln2Bias)));
        return x + Dropout(proj.Apply(inner), training);
    }

    private (Tensor Q, Tensor K, Tensor V) Split(Tensor qkv)
    {
        int d = Config.NEmbd;
        return (qkv.narrow(2, 0, d), qkv.narrow(2, d, d), qkv.narrow(2, 2 * d, d));
    }

    private Tensor Scale(Tensor q) => queryScale == 1 ? q : q * queryScale;

    /// <summary>[B, T, D] to [B, H, T, D / H].</summary>
    private Tensor Heads(Tensor x) => x.view(x.shape[0], x.shape[1], Config.NHead, headSize).transpose(1, 2);

    private Tensor Normalize(Tensor x, Tensor weight, Tensor bias) =>
        nn.functional.layer_norm(x, normalized, weight, bias, Config.LayerNormEpsilon);

    private Tensor Dropout(Tensor x, bool training) =>
        training && Config.ResidPdrop > 0 ? nn.functional.dropout(x, Config.ResidPdrop, true) : x;
}
