using Rlhf.Models.Layers;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Encoders;

/// <summary>
/// The post-norm transformer of BERT and its relatives, reading in both directions.
/// B rows, T positions of the longest row, N packed tokens, D width, H heads.
/// </summary>
internal sealed partial class Encoder
{
    private readonly EncoderConfig config;
    private readonly Parameter words, positions;
    private readonly Parameter? tokenTypes;
    private readonly Norm norm;
    private readonly Layer[] layers;

    public Encoder(EncoderConfig config, EncoderLayout layout, NamedParameters parameters)
    {
        this.config = config;
        string at = layout.Prefix + "embeddings.";
        words = parameters.Add(at + "word_embeddings.weight", config.VocabSize, config.HiddenSize);
        positions = parameters.Add(at + "position_embeddings.weight", config.MaxPositionEmbeddings, config.HiddenSize);
        if (config.TokenTypes > 0)
            tokenTypes = parameters.Add(at + "token_type_embeddings.weight", config.TokenTypes, config.HiddenSize);
        norm = Norm.Add(parameters, at + "LayerNorm", config.HiddenSize, config.LayerNormEps);
        layers = [.. Enumerable.Range(0, config.NumHiddenLayers).Select(i => new Layer(config, layout, i, parameters))];
    }

    /// <summary>The linear layers from the bottom up.</summary>
    public IEnumerable<Linear> Linears => layers.SelectMany(l => l.Linears);

    /// <summary>Last hidden state of each row's first token, which the head reads: [B, D].</summary>
    /// <param name="batch">The rows.</param>
    /// <param name="positionIds">Positions [N], int64.</param>
    /// <param name="training">Apply dropout.</param>
    public Tensor FirstTokens(PackedBatch batch, Tensor positionIds, bool training)
    {
        using var mask = batch.BidirectionalMask(words.dtype);
        var x = Embed(batch, positionIds, training);
        for (int i = 0; i < layers.Length - 1; i++)
            x = layers[i].Forward(x, batch, mask, null, training);
        // Nothing reads the other tokens behind the last layer, which then costs a sixth: only keys and values need every token.
        using var first = tensor(batch.Offsets[..^1].Select(o => (long)o).ToArray(), int64, batch.Device);
        return layers[^1].Forward(x, batch, mask, first, training);
    }

    /// <summary>Embeddings, then the output of each layer; each [N, D].</summary>
    public IReadOnlyList<Tensor> HiddenStates(PackedBatch batch, Tensor positionIds, bool training)
    {
        using var mask = batch.BidirectionalMask(words.dtype);
        List<Tensor> states = [Embed(batch, positionIds, training)];
        foreach (var layer in layers)
            states.Add(layer.Forward(states[^1], batch, mask, null, training));
        return states;
    }

    private Tensor Embed(PackedBatch batch, Tensor positionIds, bool training)
    {
        using var scope = NewDisposeScope();
        var x = words.index_select(0, batch.InputIds) + positions.index_select(0, positionIds);
        if (tokenTypes is not null)
            x = x + (batch.TokenTypeIds is { } types ? tokenTypes.index_select(0, types) : tokenTypes.narrow(0, 0, 1));
        return Dropout(norm.Apply(x), config.HiddenDropout, training).MoveToOuterDisposeScope();
    }

    internal static Tensor Dropout(Tensor x, double p, bool training) =>
        training && p > 0 ? nn.functional.dropout(x, p, true) : x;

    /// <summary>Attention and feed-forward layer, each added to its input and then normalized.</summary>
    private sealed partial class Layer
    {
        private readonly EncoderConfig config;
        private readonly Linear query, key, value, attentionOutput, intermediate, output;
        private readonly Norm attentionNorm, outputNorm;
        private readonly double attentionOutputDropout;

        public Layer(EncoderConfig config, EncoderLayout layout, int index, NamedParameters parameters)
        {
            this.config = config;
            string at = $"{layout.Prefix}{layout.Layers}{index}.";
            int d = config.HiddenSize, inner = config.IntermediateSize;
            query = Linear.Add(parameters, at + layout.Query, d, d);
            key = Linear.Add(parameters, at + layout.Key, d, d);
            value = Linear.Add(parameters, at + layout.Value, d, d);
            attentionOutput = Linear.Add(parameters, at + layout.AttentionOutput, d, d);
            attentionNorm = Norm.Add(parameters, at + layout.AttentionNorm, d, config.LayerNormEps);
            intermediate = Linear.Add(parameters, at + layout.Intermediate, d, inner);
            output = Linear.Add(parameters, at + layout.Output, inner, d);
            outputNorm = Norm.Add(parameters, at + layout.OutputNorm, d, config.LayerNormEps);
            attentionOutputDropout = layout.DropsAttentionOutput ? config.HiddenDropout : 0;
        }

        public Linear[] Linears => [query, key, value, attentionOutput, intermediate, output];

        /// <summary>[N, D] to [N, D], or to [B, D] where only one token of each row is asked for.</summary>
        /// <param name="x">Hidden states [N, D].</param>
        /// <param name="batch">The rows.</param>
        /// <param name="mask">Additive mask [B, 1, 1, T], or null.</param>
        /// <param name="only">Index [B] of the one token of each row whose output is needed; null is all tokens.</param>
        /// <param name="training">Apply dropout.</param>
        public Tensor Forward(Tensor x, PackedBatch batch, Tensor? mask, Tensor? only, bool training)
        {
            // Frees what autograd did not save, so that a long batch without gradients needs one layer's memory.
            using var scope = NewDisposeScope();
            var keys = Heads(batch.Pad(key.Apply(x)));
            var values = Heads(batch.Pad(value.Apply(x)));
            if (only is not null)
                x = x.index_select(0, only);
            var queries = query.Apply(x);
            queries = Heads(only is null ? batch.Pad(queries) : queries.unsqueeze(1));
            var attended = nn.functional.scaled_dot_product_attention(queries, keys, values, mask,
                training ? config.AttentionDropout : 0, false).transpose(1, 2).flatten(2);
            attended = only is null ? batch.Pack(attended) : attended.squeeze(1);
            x = attentionNorm.Apply(x + Dropout(attentionOutput.Apply(attended), attentionOutputDropout, training));
            var inner = Activations.Apply(config.HiddenAct, intermediate.Apply(x));
            return outputNorm.Apply(x + Dropout(output.Apply(inner), config.HiddenDropout, training)).MoveToOuterDisposeScope();
        }

        /// <summary>[B, T, D] to [B, H, T, D / H].</summary>
        private Tensor Heads(Tensor x) =>
            x.unflatten(2, [config.NumAttentionHeads, config.HiddenSize / config.NumAttentionHeads]).transpose(1, 2);
    }
}
