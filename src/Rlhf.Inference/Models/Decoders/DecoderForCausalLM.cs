using Rlhf.Models.Fused;
using Rlhf.Models.Layers;
using Rlhf.Runtime;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Decoders;

/// <summary>A language model in Llama's manner: Llama, Mistral, Qwen, Gemma, Phi-3, Pythia, OLMo 2, SmolLM3.</summary>
internal sealed partial class DecoderForCausalLM : CausalLM
{
    private readonly DecoderShape shape;
    private readonly ModelConfig source;
    private readonly bool hasHead;
    private readonly Parameter embedding;
    private readonly DecoderBlock[] blocks;
    private readonly DecoderNorm norm;
    private OutputHead head;

    /// <summary>A model with uninitialized weights.</summary>
    /// <param name="shape">What its family reads in the configuration.</param>
    /// <param name="architecture">transformers' class name.</param>
    /// <param name="source">The configuration.</param>
    /// <param name="plan">Where and how the model computes.</param>
    /// <param name="hasHead">False for a trunk, which needs no output layer.</param>
    /// <param name="shared">Parameters of another model to use, by name, instead of making them.</param>
    public DecoderForCausalLM(DecoderShape shape, string architecture, ModelConfig source, ComputePlan plan, bool hasHead = true,
        IReadOnlyDictionary<string, Parameter>? shared = null)
        : base(plan, shared)
    {
        (this.shape, Architecture, this.source, this.hasHead) = (shape, architecture, source, hasHead);
        var (names, sizes) = (shape.Names, shape.Sizes);
        embedding = Parameters.AddMatrix($"{names.Prefix}{names.Embedding}.weight", 0, sizes.VocabSize, sizes.Width);
        blocks = [.. Enumerable.Range(0, sizes.Layers).Select(i => new DecoderBlock(shape, i, Parameters))];
        norm = DecoderNorm.Add(Parameters, names.Prefix + names.FinalNorm, sizes.Width, shape.Norm, shape.NormEpsilon);
        head = new OutputHead(new Linear(names.Head, embedding)) { Cap = shape.LogitCap };
        if (hasHead && !shape.IsTied)
            AddHead();
    }

    private protected override bool CanRecompute => true;

    private protected override bool CanStoreBase => true;

    public override string Architecture { get; }

    public override ModelShape Shape => shape.Sizes;

    public override OutputHead Head => head;

    public override ModelConfig Configuration => !hasHead || IsTied == shape.IsTied ? source : source.With("tie_word_embeddings", IsTied);

    public override IReadOnlyList<Linear> Linears => [.. blocks.SelectMany(b => b.Linears), head.Layer];

    protected internal override Parameter? FinalNormBias => norm.Bias;

    /// <summary>Rotary frequencies of some models are others once a text is longer than those of the first training.</summary>
    internal override int UniformLength =>
        shape.Ropes.Where(r => r.DependsOnLength).Select(r => r.OriginalLength).DefaultIfEmpty(int.MaxValue).Min();

    public override Tensor Forward(PackedBatch batch) => Forward(batch, null);

    /// <summary>No window may be shorter than a row, since windows count positions.</summary>
    internal override bool ReadsBranches(PackedBatch batch) => CanFuse && PackedAttention.Supports(shape, batch)
        && shape.AttentionCap is null && shape.Layers.All(l => l.Window is null || l.Window >= batch.MaxLength);

    /// <summary>
    /// Hidden states as transformers returns them: embeddings, then each block; the last after the final normalization. Each [N, D].
    /// </summary>
    internal IReadOnlyList<Tensor> HiddenStates(PackedBatch batch)
    {
        var pass = DecoderPass.Over(shape, batch, Plan.Weights);
        List<Tensor> states = [Embed(batch)];
        foreach (var block in blocks)
            states.Add(block.Forward(states[^1], batch, pass, null, Training));
        states[^1] = norm.Apply(states[^1]);
        return states;
    }

    protected override Tensor ForwardInto(PackedBatch batch, KeyValueCache cache) => Forward(batch, cache);

    protected override Tensor DecodeStep(Tensor ids, long[] positions, int longest, KeyValueCache cache)
    {
        using var scope = NewDisposeScope();
        var step = DecoderPass.Step(shape, cache, positions, longest, Plan.Weights, Device);
        var x = Scaled(TokenEmbedding.Lookup(embedding, ids, Plan.Weights));
        if (!is_grad_enabled() && DecodesRows(positions.Length))
            return Final(DecoderRows.Decode(shape, blocks, x, step, cache, positions)).MoveToOuterDisposeScope();
        if (CanFuse && !is_grad_enabled())
        {
            using var pass = new DecoderFusedPass(shape, step, null);
            x = x.to(float32);
            for (int i = 0; i < blocks.Length; i++)
                x = DecoderFusedBlock.Decode(blocks[i], x, step, pass, cache.Keys[i], cache.Values[i]);
            return Final(x).MoveToOuterDisposeScope();
        }
        for (int i = 0; i < blocks.Length; i++)
            x = blocks[i].Decode(x, step, cache.Keys[i], cache.Values[i]);
        return norm.Apply(x).MoveToOuterDisposeScope();
    }

    /// <summary>As transformers does: normal with the configuration's standard deviation; biases 0, normalizations neutral.</summary>
    public override void Initialize(long seed)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (name, parameter) in Parameters)
            if (name.EndsWith(".bias", StringComparison.Ordinal))
                parameter.zero_();
            else if (parameter.dim() > 1)
                InitialWeights.Normal(parameter, shape.InitializerRange, seed, name);
        foreach (var each in blocks.SelectMany(b => b.Norms).Append(norm))
            each.Initialize();
    }

    protected override CausalLM CreateLike(IReadOnlyDictionary<string, Parameter> shared) =>
        new DecoderForCausalLM(shape with { IsTied = IsTied }, Architecture, Configuration, Plan, hasHead, shared);

    protected override void Untie() => AddHead();

    /// <summary>Files saved from the base model have no prefix.</summary>
    protected internal override string? FindInCheckpoint(string parameter, IReadOnlySet<string> checkpoint)
    {
        string prefix = shape.Names.Prefix;
        string bare = parameter.StartsWith(prefix, StringComparison.Ordinal) ? parameter[prefix.Length..] : parameter;
        string output = head.Layer.Name + ".weight";
        return checkpoint.Contains(parameter) ? parameter : checkpoint.Contains(bare) ? bare
            : IsTied && bare == shape.Names.Embedding + ".weight" && checkpoint.Contains(output) ? output : null;
    }

    private void AddHead() => head = new OutputHead(
        Linear.Add(Parameters, shape.Names.Head, shape.Sizes.Width, shape.Sizes.VocabSize, hasBias: false))
    { Cap = shape.LogitCap };

    private Tensor Forward(PackedBatch batch, KeyValueCache? cache)
    {
        using var scope = NewDisposeScope();
        var pass = DecoderPass.Over(shape, batch, Plan.Weights, cache?.MaxLength ?? 0);
        var x = Embed(batch);
        if (CanFuse && (cache is null || !is_grad_enabled()))
            return Final(Fused(x.to(float32), new DecoderFusedPass(shape, pass, batch), cache)).MoveToOuterDisposeScope();
        for (int i = 0; i < blocks.Length; i++)
            x = cache is null && Plan.RecomputesActivations ? Recomputed(blocks[i], x, batch)
                : blocks[i].Forward(x, batch, pass, cache is null ? null : (cache.Keys[i], cache.Values[i]), Training);
        return norm.Apply(x).MoveToOuterDisposeScope();
    }

    /// <summary>Are decoding steps of so few rows taken by <see cref="DecoderRows"/>?</summary>
    internal bool DecodesRows(int rows) => DecoderRows.Supports(shape, blocks, rows);

    /// <summary>Are the blocks one native call each way?</summary>
    internal bool CanFuse => DecoderFusedBlock.Supports(shape, blocks, Training);

    private Tensor Fused(Tensor x, DecoderFusedPass pass, KeyValueCache? cache)
    {
        if (cache is null)
            return DecoderFusedTrunk.Apply(x, blocks, pass, Plan.RecomputesActivations);
        using (pass)
            return DecoderFusedTrunk.Run(x, blocks, pass, cache);
    }

    private Tensor Recomputed(DecoderBlock block, Tensor x, PackedBatch batch)
    {
        bool training = Training;
        return RecomputedBlock.Apply(x, input =>
        {
            using var scope = NewDisposeScope();
            // What the blocks share does not outlive the forward pass.
            var pass = DecoderPass.Over(shape, batch, Plan.Weights);
            return block.Forward(input, batch, pass, null, training).MoveToOuterDisposeScope();
        }, block.Weights().AnyTrained, training && (shape.AttentionDropout > 0 || shape.ResidualDropout > 0 || block.Linears.Any(l => l.Adapter is { Dropout: > 0 })));
    }

    /// <summary>The fused blocks compute in float32 whatever the weights' type is.</summary>
    private Tensor Final(Tensor x) => norm.Apply(x).to(Plan.Weights);

    private Tensor Embed(PackedBatch batch)
    {
        if (batch.Branches is not null && !ReadsBranches(batch))
            throw new InvalidOperationException("The model does not read rows with branches on this machine.");
        if (batch.Branches is null && batch.MaxLength > MaxPositions)
            throw new ArgumentException($"A row has {batch.MaxLength} tokens, but the model reads at most {MaxPositions}. "
                + "Shorten the text.");
        if (batch.KeyMask is not null)
            throw new ArgumentException("A causal model takes rows without their padding.");
        batch.CheckIds(VocabSize, MaxPositions);
        var x = Scaled(TokenEmbedding.Lookup(embedding, batch.InputIds, Plan.Weights));
        return Training && shape.EmbeddingDropout > 0 ? nn.functional.dropout(x, shape.EmbeddingDropout, true) : x;
    }

    private Tensor Scaled(Tensor x) => shape.EmbeddingScale == 1 ? x
        : x * full([], shape.EmbeddingScale, x.dtype, x.device); // rounded to the weights' type first, as transformers does
}
