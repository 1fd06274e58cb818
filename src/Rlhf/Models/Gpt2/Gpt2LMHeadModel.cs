using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Gpt2;

/// <summary>GPT-2 with its output layer tied to the input embedding.</summary>
/// <remarks>B rows, T positions of the longest row, N packed tokens, V vocabulary, D width, H heads.</remarks>
public sealed class Gpt2LMHeadModel : CausalLM
{
    private readonly Block[] blocks;
    private readonly Parameter wte, wpe, lnWeight, lnBias;
    private readonly long[] normalized;

    /// <summary>
    /// A model with uninitialised weights; <see cref="Initialize"/> or <see cref="PretrainedModel.LoadWeights"/> fills them.
    /// </summary>
    public Gpt2LMHeadModel(Gpt2Config config, Device? device = null) : this(config, device, null)
    {
    }

    private Gpt2LMHeadModel(Gpt2Config config, Device? device, IReadOnlyDictionary<string, Parameter>? shared)
        : base(device, shared)
    {
        Config = config;
        normalized = [config.NEmbd];
        wte = Parameters.Add("transformer.wte.weight", config.VocabSize, config.NEmbd);
        wpe = Parameters.Add("transformer.wpe.weight", config.NPositions, config.NEmbd);
        blocks = Enumerable.Range(0, config.NLayer).Select(i => new Block(config, i, Parameters)).ToArray();
        lnWeight = Parameters.Add("transformer.ln_f.weight", config.NEmbd);
        lnBias = Parameters.Add("transformer.ln_f.bias", config.NEmbd);
    }

    /// <summary>The configuration.</summary>
    public Gpt2Config Config { get; }

    /// <inheritdoc/>
    public override string Architecture => "GPT2LMHeadModel";

    /// <inheritdoc/>
    public override int VocabSize => Config.VocabSize;

    /// <inheritdoc/>
    public override int HiddenSize => Config.NEmbd;

    /// <inheritdoc/>
    public override int MaxPositions => Config.NPositions;

    /// <inheritdoc/>
    public override int LayerCount => Config.NLayer;

    /// <inheritdoc/>
    public override int? EosTokenId => Config.EosTokenId;

    /// <inheritdoc/>
    public override Tensor LmHeadWeight => wte;

    /// <inheritdoc/>
    public override Tensor Forward(PackedBatch batch) => Forward(batch, null);

    /// <summary>
    /// Hidden states as transformers returns them: embeddings, then each block; the last after the final
    /// normalisation. Each [N, D].
    /// </summary>
    public IReadOnlyList<Tensor> HiddenStates(PackedBatch batch)
    {
        List<Tensor> states = [Embed(batch)];
        foreach (var block in blocks)
            states.Add(block.Forward(states[^1], batch, null, Training));
        states[^1] = FinalNorm(states[^1]);
        return states;
    }

    /// <inheritdoc/>
    public override Tensor Prefill(PackedBatch batch, KeyValueCache cache)
    {
        if (batch.RowCount != cache.ActiveRows)
            throw new ArgumentException($"The batch has {batch.RowCount} rows and the cache {cache.ActiveRows}.");
        if (batch.MaxLength > cache.MaxLength)
            throw new ArgumentException($"A row has {batch.MaxLength} tokens and the cache holds {cache.MaxLength}.");
        var hidden = Forward(batch, cache);
        for (int b = 0; b < batch.RowCount; b++)
            cache.Lengths[b] = batch.Length(b);
        return hidden;
    }

    /// <inheritdoc/>
    public override Tensor Decode(Tensor ids, KeyValueCache cache)
    {
        int rows = cache.ActiveRows;
        if (ids.shape is not [var count] || count != rows)
            throw new ArgumentException($"There are {cache.ActiveRows} active rows, but not as many token ids.");
        var positions = new long[rows];
        int longest = 0;
        for (int b = 0; b < rows; b++)
        {
            positions[b] = cache.Lengths[b];
            longest = Math.Max(longest, cache.Lengths[b] + 1);
        }
        if (longest > cache.MaxLength || longest > Config.NPositions)
            throw new ArgumentException($"A row would have {longest} tokens; the cache holds {cache.MaxLength} and the model " +
                $"{Config.NPositions}.");

        var step = new DecodingStep(cache, rows, longest, positions, Device);
        using var at = tensor(positions, int64, Device);
        var x = wte.index_select(0, ids).add_(wpe.index_select(0, at));
        for (int i = 0; i < blocks.Length; i++)
            x = blocks[i].Decode(x, step, cache.Keys[i], cache.Values[i]);
        for (int b = 0; b < rows; b++)
            cache.Lengths[b]++;
        return FinalNorm(x);
    }

    /// <inheritdoc/>
    public override KeyValueCache CreateCache(int rows, int maxLength) =>
        new(Config.NLayer, rows, maxLength, Config.NEmbd, wte.dtype, Device);

    /// <summary>
    /// Draws weights as transformers does: normal with the configuration's standard deviation, divided by √(2 · layers) for the
    /// projections into the residual stream; biases 0, gains 1.
    /// </summary>
    public override void Initialize(long seed)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed);
        foreach (var (name, parameter) in Parameters)
        {
            if (name.EndsWith(".bias", StringComparison.Ordinal))
                parameter.zero_();
            else if (name.Contains(".ln_", StringComparison.Ordinal))
                parameter.fill_(1);
            else
            {
                bool entersResidual = name.EndsWith("c_proj.weight", StringComparison.Ordinal);
                var std = Config.InitializerRange / (entersResidual ? Math.Sqrt(2.0 * Config.NLayer) : 1);
                using var values = empty(parameter.shape, float32, CPU).normal_(0, std, generator);
                parameter.copy_(values);
            }
        }
    }

    internal override CausalLM CreateFrozenCopy(int sharedLayers)
    {
        var shared = Parameters.TakeWhile(p => sharedLayers > 0
            && !p.Key.StartsWith($"transformer.h.{sharedLayers}.", StringComparison.Ordinal)
            && !p.Key.StartsWith("transformer.ln_f.", StringComparison.Ordinal)).ToDictionary();
        foreach (var parameter in shared.Values)
            parameter.requires_grad = false;
        var copy = new Gpt2LMHeadModel(Config, Device, shared);
        copy.Freeze();
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (name, parameter) in copy.Parameters)
            if (!shared.ContainsKey(name))
                parameter.copy_(Parameters[name]);
        return copy;
    }

    /// <inheritdoc/>
    protected override void SaveConfiguration(string folder) => Config.Save(folder, Architecture);

    /// <inheritdoc/>
    protected override string? FindInCheckpoint(string parameter, IReadOnlySet<string> checkpoint)
    {
        // Files saved from the base model, such as OpenAI's gpt2, have no prefix.
        var bare = parameter["transformer.".Length..];
        return checkpoint.Contains(parameter) ? parameter : checkpoint.Contains(bare) ? bare
            : parameter == "transformer.wte.weight" && checkpoint.Contains("lm_head.weight") ? "lm_head.weight" : null;
    }

    private Tensor Forward(PackedBatch batch, KeyValueCache? cache)
    {
        var x = Embed(batch);
        for (int i = 0; i < blocks.Length; i++)
            x = blocks[i].Forward(x, batch, cache is null ? null : (cache.Keys[i], cache.Values[i]), Training);
        return FinalNorm(x);
    }

    private Tensor Embed(PackedBatch batch)
    {
        if (batch.MaxLength > Config.NPositions)
            throw new ArgumentException($"A row has {batch.MaxLength} tokens, but the model reads at most " +
                $"{Config.NPositions}. Shorten the text.");
        if (batch.KeyMask is not null)
            throw new ArgumentException("A causal model takes rows without their padding.");
        batch.CheckIds(Config.VocabSize, Config.NPositions);
        var x = TokenEmbedding.Lookup(wte, batch.InputIds).add_(TokenEmbedding.Lookup(wpe, batch.PositionIds));
        return Training && Config.EmbdPdrop > 0 ? nn.functional.dropout(x, Config.EmbdPdrop, true) : x;
    }

    private Tensor FinalNorm(Tensor x) => nn.functional.layer_norm(x, normalized, lnWeight, lnBias, Config.LayerNormEpsilon);

    /// <summary>What all layers share in one decoding step.</summary>
    private sealed class DecodingStep
    {
        public DecodingStep(KeyValueCache cache, int rows, int longest, long[] positions, Device device)
        {
            (Rows, Longest) = (rows, longest);
            for (int b = 0; b < rows; b++)
                positions[b] += (long)b * cache.MaxLength;
            Slots = tensor(positions, int64, device);
            for (int b = 0; b < rows; b++)
                positions[b] -= (long)b * cache.MaxLength;
            if (positions.All(p => p == longest - 1))
                return;
            var mask = new float[rows * longest];
            for (int b = 0; b < rows; b++)
                mask.AsSpan(b * longest + (int)positions[b] + 1, longest - (int)positions[b] - 1).Fill(float.NegativeInfinity);
            Mask = tensor(mask, [rows, 1, 1, longest], cache.Keys[0].dtype, device);
        }

        public int Rows { get; }

        public int Longest { get; }

        /// <summary>Where each row's new key goes in the cache seen as [rows · maxLength, D].</summary>
        public Tensor Slots { get; }

        /// <summary>
        /// Additive mask [rows, 1, 1, longest] that hides what lies behind each row's end; null when all rows are equally long.
        /// </summary>
        public Tensor? Mask { get; }
    }

    /// <summary>Attention and feed-forward layer, each on the normalised input, each added to the residual stream.</summary>
    private sealed class Block
    {
        private readonly Gpt2Config config;
        private readonly Parameter ln1Weight, ln1Bias, attnWeight, attnBias, attnProjWeight, attnProjBias;
        private readonly Parameter ln2Weight, ln2Bias, fcWeight, fcBias, projWeight, projBias;
        private readonly long[] normalized;
        private readonly int headSize;
        private readonly double queryScale;

        public Block(Gpt2Config config, int layer, NamedParameters parameters)
        {
            this.config = config;
            normalized = [config.NEmbd];
            headSize = config.NEmbd / config.NHead;
            // Attention itself divides by √(head size).
            queryScale = (config.ScaleAttnWeights ? 1 : Math.Sqrt(headSize))
                / (config.ScaleAttnByInverseLayerIdx ? layer + 1 : 1);
            string at = $"transformer.h.{layer}.";
            int d = config.NEmbd, inner = config.InnerSize;
            // Conv1D weights are stored [in, out].
            ln1Weight = parameters.Add(at + "ln_1.weight", d);
            ln1Bias = parameters.Add(at + "ln_1.bias", d);
            attnWeight = parameters.Add(at + "attn.c_attn.weight", d, 3 * d);
            attnBias = parameters.Add(at + "attn.c_attn.bias", 3 * d);
            attnProjWeight = parameters.Add(at + "attn.c_proj.weight", d, d);
            attnProjBias = parameters.Add(at + "attn.c_proj.bias", d);
            ln2Weight = parameters.Add(at + "ln_2.weight", d);
            ln2Bias = parameters.Add(at + "ln_2.bias", d);
            fcWeight = parameters.Add(at + "mlp.c_fc.weight", d, inner);
            fcBias = parameters.Add(at + "mlp.c_fc.bias", inner);
            projWeight = parameters.Add(at + "mlp.c_proj.weight", inner, d);
            projBias = parameters.Add(at + "mlp.c_proj.bias", d);
        }

        /// <summary>[N, D] to [N, D]; with a cache, keeps the keys and values of every row.</summary>
        public Tensor Forward(Tensor x, PackedBatch batch, (Tensor Keys, Tensor Values)? cache, bool training)
        {
            var qkv = batch.Pad(attnBias.addmm(Normalize(x, ln1Weight, ln1Bias), attnWeight));
            var (q, k, v) = Split(qkv);
            if (cache is { } c)
            {
                using var noGrad = no_grad();
                c.Keys.narrow(1, 0, batch.MaxLength).copy_(k);
                c.Values.narrow(1, 0, batch.MaxLength).copy_(v);
            }
            // Rows are padded on the right, so that the causal mask already hides the padding from every token.
            var attended = nn.functional.scaled_dot_product_attention(Heads(Scale(q)), Heads(k), Heads(v),
                p: training ? config.AttnPdrop : 0, is_casual: true);
            return FeedForward(Residual(x, batch.Pack(attended.transpose(1, 2).reshape(q.shape)), training), training);
        }

        /// <summary>One token for each row: [rows, D] to [rows, D].</summary>
        public Tensor Decode(Tensor x, DecodingStep step, Tensor keys, Tensor values)
        {
            var qkv = attnBias.addmm(Normalize(x, ln1Weight, ln1Bias), attnWeight);
            var (q, k, v) = Split(qkv.unsqueeze(1));
            keys.view(-1, config.NEmbd).index_copy_(0, step.Slots, k.squeeze(1));
            values.view(-1, config.NEmbd).index_copy_(0, step.Slots, v.squeeze(1));
            var attended = nn.functional.scaled_dot_product_attention(Heads(Scale(q)),
                Heads(keys.narrow(0, 0, step.Rows).narrow(1, 0, step.Longest)),
                Heads(values.narrow(0, 0, step.Rows).narrow(1, 0, step.Longest)), attn_mask: step.Mask);
            return FeedForward(Residual(x, attended.transpose(1, 2).reshape(step.Rows, config.NEmbd), false), false);
        }

        private Tensor Residual(Tensor x, Tensor attended, bool training) =>
            x + Dropout(attnProjBias.addmm(attended, attnProjWeight), training);

        private Tensor FeedForward(Tensor x, bool training)
        {
            var inner = Activations.Apply(config.ActivationFunction, fcBias.addmm(Normalize(x, ln2Weight, ln2Bias), fcWeight));
            return x + Dropout(projBias.addmm(inner, projWeight), training);
        }

        private (Tensor Q, Tensor K, Tensor V) Split(Tensor qkv)
        {
            int d = config.NEmbd;
            return (qkv.narrow(2, 0, d), qkv.narrow(2, d, d), qkv.narrow(2, 2 * d, d));
        }

        private Tensor Scale(Tensor q) => queryScale == 1 ? q : q * queryScale;

        /// <summary>[B, T, D] to [B, H, T, D / H].</summary>
        private Tensor Heads(Tensor x) => x.view(x.shape[0], x.shape[1], config.NHead, headSize).transpose(1, 2);

        private Tensor Normalize(Tensor x, Tensor weight, Tensor bias) =>
            nn.functional.layer_norm(x, normalized, weight, bias, config.LayerNormEpsilon);

        private Tensor Dropout(Tensor x, bool training) =>
            training && config.ResidPdrop > 0 ? nn.functional.dropout(x, config.ResidPdrop, true) : x;
    }
}
