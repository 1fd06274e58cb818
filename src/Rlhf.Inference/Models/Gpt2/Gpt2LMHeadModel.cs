using Rlhf.Models.Fused;
using Rlhf.Models.Layers;
using Rlhf.Runtime;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Gpt2;

/// <summary>GPT-2 with its output layer tied to the input embedding.</summary>
/// <remarks>B rows, T positions of the longest row, N packed tokens, V vocabulary, D width, H heads.</remarks>
public sealed partial class Gpt2LMHeadModel : CausalLM
{
    private readonly Gpt2Block[] blocks;
    private readonly Parameter wte, wpe, lnWeight, lnBias;
    private readonly long[] normalized;
    private readonly ModelConfig? source;
    private OutputHead head;

    /// <summary>
    /// A model with uninitialized weights; <see cref="Initialize"/> or <see cref="PretrainedModel.LoadWeights"/> fills them.
    /// </summary>
    /// <param name="config">The sizes.</param>
    /// <param name="plan">Where and how the model computes; null is float32 on the CPU.</param>
    /// <param name="source">The file that the sizes come from: what else it says is kept.</param>
    /// <param name="shared">Parameters of another model to use, by name, instead of making them.</param>
    public Gpt2LMHeadModel(Gpt2Config config, ComputePlan? plan = null, ModelConfig? source = null,
        IReadOnlyDictionary<string, Parameter>? shared = null)
        : base(plan, shared)
    {
        (Config, this.source) = (config, source);
        normalized = [config.NEmbd];
        wte = Parameters.AddMatrix("transformer.wte.weight", 0, config.VocabSize, config.NEmbd);
        wpe = Parameters.Add("transformer.wpe.weight", config.NPositions, config.NEmbd);
        blocks = Enumerable.Range(0, config.NLayer).Select(i => new Gpt2Block(config, i, Parameters)).ToArray();
        lnWeight = Parameters.Add("transformer.ln_f.weight", config.NEmbd);
        lnBias = Parameters.Add("transformer.ln_f.bias", config.NEmbd);
        head = new OutputHead(new Linear("lm_head", wte));
        if (!config.TiesWordEmbeddings)
            Untie();
    }

    /// <summary>The configuration.</summary>
    public Gpt2Config Config { get; private set; }

    private protected override bool CanRecompute => true;

    private protected override bool CanStoreBase => true;

    /// <inheritdoc/>
    public override string Architecture => "GPT2LMHeadModel";

    /// <inheritdoc/>
    public override ModelConfig Configuration
    {
        get
        {
            var json = Config.ToJson();
            // A file may list several end tokens; this class knows the first.
            if (source?.Root.Ints("eos_token_id", 0, ConfigSection.MaxVocabulary) is [var first, ..] && first == Config.EosTokenId)
                json.Remove("eos_token_id");
            return (source ?? ModelConfig.Of([])).With(json);
        }
    }

    /// <inheritdoc/>
    public override ModelShape Shape => Config.Shape;

    /// <inheritdoc/>
    public override OutputHead Head => head;

    /// <inheritdoc/>
    public override IReadOnlyList<Linear> Linears => [.. blocks.SelectMany(b => b.Linears), head.Layer];

    /// <inheritdoc/>
    protected internal override Parameter? FinalNormBias => lnBias;

    /// <inheritdoc/>
    public override Tensor Forward(PackedBatch batch) => Forward(batch, null);

    /// <summary>
    /// Hidden states as transformers returns them: embeddings, then each block; the last after the final
    /// normalization. Each [N, D].
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
    protected override Tensor ForwardInto(PackedBatch batch, KeyValueCache cache) => Forward(batch, cache);

    /// <inheritdoc/>
    protected override Tensor DecodeStep(Tensor ids, long[] positions, int longest, KeyValueCache cache)
    {
        var step = new Gpt2DecodingStep(cache, positions.Length, longest, positions, Device);
        using var at = tensor(positions, int64, Device);
        var x = TokenEmbedding.Lookup(wte, ids, Plan.Weights).add_(wpe.index_select(0, at));
        bool fused = !is_grad_enabled() && CanFuse;
        for (int i = 0; i < blocks.Length; i++)
            x = fused ? Gpt2FusedBlock.Decode(blocks[i], x, step, cache.Keys[i], cache.Values[i])
                : blocks[i].Decode(x, step, cache.Keys[i], cache.Values[i]);
        return FinalNorm(x);
    }

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
                NamedParameters.Copy(values, parameter);
            }
        }
    }

    /// <inheritdoc/>
    protected override CausalLM CreateLike(IReadOnlyDictionary<string, Parameter> shared) =>
        new Gpt2LMHeadModel(Config, Plan, source, shared);

    /// <inheritdoc/>
    protected override void Untie()
    {
        Config = Config with { TiesWordEmbeddings = false };
        head = new OutputHead(Linear.Add(Parameters, head.Layer.Name, Config.NEmbd, Config.VocabSize, hasBias: false));
    }

    /// <inheritdoc/>
    protected internal override string? FindInCheckpoint(string parameter, IReadOnlySet<string> checkpoint)
    {
        // Files saved from the base model, such as OpenAI's gpt2, have no prefix.
        var bare = parameter.StartsWith("transformer.", StringComparison.Ordinal) ? parameter["transformer.".Length..] : parameter;
        return checkpoint.Contains(parameter) ? parameter : checkpoint.Contains(bare) ? bare
            : IsTied && parameter == "transformer.wte.weight" && checkpoint.Contains("lm_head.weight") ? "lm_head.weight" : null;
    }

    /// <summary>The fused blocks know nothing of an adapter's updates.</summary>
    private bool CanFuse => Gpt2FusedBlock.Supports(Config, wte) && !blocks.Any(b => b.HasAdapter);

    private Tensor Forward(PackedBatch batch, KeyValueCache? cache)
    {
        var x = Embed(batch);
        bool drops = Training && (Config.ResidPdrop > 0 || Config.AttnPdrop > 0);
        if (!drops && CanFuse && (cache is null || !is_grad_enabled()))
            return FinalNorm(cache is null ? Gpt2FusedTrunk.Apply(x, blocks, batch, Plan.RecomputesActivations) : Prefill(x, batch, cache));
        for (int i = 0; i < blocks.Length; i++)
            x = cache is null && Plan.RecomputesActivations ? Recomputed(blocks[i], x, batch, drops)
                : blocks[i].Forward(x, batch, cache is null ? null : (cache.Keys[i], cache.Values[i]), Training);
        return FinalNorm(x);
    }

    /// <param name="block">The block.</param>
    /// <param name="x">Its input.</param>
    /// <param name="batch">The rows.</param>
    /// <param name="drops">Does the model itself have dropout on? Its adapter may have some of its own.</param>
    private Tensor Recomputed(Gpt2Block block, Tensor x, PackedBatch batch, bool drops)
    {
        bool training = Training;
        return RecomputedBlock.Apply(x, input => block.Forward(input, batch, null, training), block.AnyTrained,
            drops || training && block.Linears.Any(l => l.Adapter is { Dropout: > 0 }));
    }

    private Tensor Prefill(Tensor x, PackedBatch batch, KeyValueCache cache)
    {
        for (int i = 0; i < blocks.Length; i++)
        {
            using var scope = NewDisposeScope();
            x = Gpt2FusedBlock.Forward(blocks[i], x, batch, (cache.Keys[i], cache.Values[i])).MoveToOuterDisposeScope();
        }
        return x;
    }

    private Tensor Embed(PackedBatch batch)
    {
        if (batch.MaxLength > Config.NPositions)
            throw new ArgumentException($"A row has {batch.MaxLength} tokens, but the model reads at most " +
                $"{Config.NPositions}. Shorten the text.");
        if (batch.KeyMask is not null)
            throw new ArgumentException("A causal model takes rows without their padding.");
        batch.CheckIds(Config.VocabSize, Config.NPositions);
        var x = TokenEmbedding.Lookup(wte, batch.InputIds, Plan.Weights).add_(TokenEmbedding.Lookup(wpe, batch.PositionIds));
        return Training && Config.EmbdPdrop > 0 ? nn.functional.dropout(x, Config.EmbdPdrop, true) : x;
    }

    private Tensor FinalNorm(Tensor x) => nn.functional.layer_norm(x, normalized, lnWeight, lnBias, Config.LayerNormEpsilon);
}
