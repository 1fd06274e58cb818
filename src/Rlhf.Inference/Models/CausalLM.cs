using Rlhf.Models.Onnx;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using Rlhf.Weights;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models;

/// <summary>A language model that predicts the next token from those before it.</summary>
/// <remarks>B rows, N packed tokens, V vocabulary, D width.</remarks>
/// <param name="plan">Where and how the model computes; null is float32 on the CPU.</param>
/// <param name="shared">Parameters of another model to use, by name, instead of making them.</param>
public abstract class CausalLM(ComputePlan? plan, IReadOnlyDictionary<string, Parameter>? shared = null)
    : PretrainedModel(plan, shared)
{
    private IReadOnlyList<int>? endTokens;

    /// <summary>The model's sizes.</summary>
    public abstract ModelShape Shape { get; }

    /// <summary>V, the number of token ids.</summary>
    public int VocabSize => Shape.VocabSize;

    /// <summary>D, the width of hidden states.</summary>
    public int HiddenSize => Shape.Width;

    /// <summary>Longest row in tokens.</summary>
    public int MaxPositions => Shape.MaxPositions;

    /// <summary>Number of blocks.</summary>
    public int LayerCount => Shape.Layers;

    /// <summary>Tokens that end a text, by generation_config.json or else config.json; empty when neither names one.</summary>
    public IReadOnlyList<int> EosTokenIds => endTokens ??= Configuration.EosTokenIds;

    /// <summary>The first of <see cref="EosTokenIds"/>, or null.</summary>
    public int? EosTokenId => EosTokenIds is [var id, ..] ? id : null;

    /// <summary>The output layer; tied to the input embedding where its weight is that of the embedding.</summary>
    public abstract OutputHead Head { get; }

    /// <summary>Is the output layer's weight the input embedding's?</summary>
    public bool IsTied => !Parameters.Contains(Head.Layer.Name + ".weight");

    /// <summary>Does the model read rows with branches (<see cref="PackedBatch.Branches"/>), in passes that keep no keys and values?</summary>
    internal virtual bool ReadsBranches(PackedBatch batch) => false;

    /// <summary>Hidden states after the final normalization: [N, D] for N packed tokens.</summary>
    public abstract Tensor Forward(PackedBatch batch);

    /// <summary><see cref="Forward(PackedBatch)"/> in ONNX's operators: hidden states [B, T, D].</summary>
    /// <exception cref="NotSupportedException">The architecture has no form in ONNX.</exception>
    internal virtual OnnxValue Graph(OnnxGraph graph, OnnxRows rows) => throw OnnxGraph.NoForm(Architecture);

    /// <summary>
    /// Like <see cref="Forward(PackedBatch)"/>, and also keeps the keys and values of every token, row b
    /// of the batch in row b of the cache.
    /// </summary>
    /// <exception cref="ArgumentException">The cache has other rows, or a row does not fit into it.</exception>
    public Tensor Prefill(PackedBatch batch, KeyValueCache cache)
    {
        if (batch.RowCount != cache.ActiveRows)
            throw new ArgumentException($"The batch has {batch.RowCount} rows and the cache {cache.ActiveRows}.");
        if (batch.MaxLength > cache.MaxLength)
            throw new ArgumentException($"A row has {batch.MaxLength} tokens and the cache holds {cache.MaxLength}.");
        var hidden = ForwardInto(batch, cache);
        for (int b = 0; b < batch.RowCount; b++)
            cache.Lengths[b] = batch.Length(b);
        return hidden;
    }

    /// <summary>
    /// One token for each of the cache's first rows: hidden states [rows, D]. Each row's length in the cache grows by one.
    /// </summary>
    /// <param name="ids">Token ids [rows], int64.</param>
    /// <param name="cache">Keys and values so far; <see cref="KeyValueCache.ActiveRows"/> must equal the number of ids.</param>
    /// <exception cref="ArgumentException">There are not as many ids, or a row is as long as cache or model allow.</exception>
    public Tensor Decode(Tensor ids, KeyValueCache cache)
    {
        int rows = cache.ActiveRows;
        if (ids.shape is not [var count] || count != rows)
            throw new ArgumentException($"There are {rows} active rows, but not as many token ids.");
        long[] positions = [.. cache.Lengths.Take(rows).Select(l => (long)l)];
        int longest = (int)positions.DefaultIfEmpty().Max() + 1;
        if (longest > cache.MaxLength || longest > MaxPositions)
            throw new ArgumentException($"A row would have {longest} tokens; the cache holds {cache.MaxLength} and the model {MaxPositions}.");
        var hidden = DecodeStep(ids, positions, longest, cache);
        for (int b = 0; b < rows; b++)
            cache.Lengths[b]++;
        return hidden;
    }

    /// <summary>An empty cache of the model's key and value heads.</summary>
    /// <param name="rows">Most rows it will hold.</param>
    /// <param name="maxLength">Most tokens a row will hold.</param>
    public virtual KeyValueCache CreateCache(int rows, int maxLength) =>
        new(LayerCount, rows, maxLength, Shape.KeyValueWidth, Plan.Weights, Device);

    /// <summary>Up to this many tokens a text is read in the same way whatever <see cref="KeyValueCache.MaxLength"/> is.</summary>
    internal virtual int UniformLength => int.MaxValue;

    /// <summary>The bias [D] of the last normalization, where it has one.</summary>
    protected internal virtual Parameter? FinalNormBias => null;

    /// <summary>Logits [R, V] of hidden states [R, D], float32; without gradient.</summary>
    public Tensor Logits(Tensor hidden) => Head.Logits(hidden);

    /// <summary>
    /// A frozen copy, with an adapter merged; the embeddings and the first <paramref name="sharedLayers"/> blocks are this
    /// model's own parameters, and frozen here too, when that is not 0.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">There are not as many blocks.</exception>
    public CausalLM CreateFrozenCopy(int sharedLayers = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sharedLayers);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sharedLayers, LayerCount);
        if (Adapter is not null && sharedLayers > 0)
            throw new NotSupportedException("Layers cannot be shared with a copy while an adapter is on them; copy all, or take the model "
                + "with its adapter off as the reference (Reference.AdaptersOff).");
        var shared = BottomParameters(sharedLayers);
        foreach (var parameter in shared.Values)
            parameter.requires_grad = false;
        var copy = CreateLike(shared);
        copy.Freeze();
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (name, parameter) in copy.Parameters)
            if (!shared.ContainsKey(name))
                NamedParameters.Copy(Parameters[name], parameter);
        Adapter?.MergeInto(copy);
        return copy;
    }

    /// <summary>
    /// Like <see cref="Forward(PackedBatch)"/>, and writes the keys and values of every layer into the cache; its lengths are set by <see cref="Prefill"/>.
    /// </summary>
    /// <param name="batch">As many rows as the cache has active ones; each fits into it.</param>
    /// <param name="cache">The cache.</param>
    protected abstract Tensor ForwardInto(PackedBatch batch, KeyValueCache cache);

    /// <summary>
    /// Hidden states [rows, D] after the final normalization of one more token of each active row, whose keys and values are written into the
    /// cache at its position; the cache's lengths are counted up by <see cref="Decode"/>.
    /// </summary>
    /// <param name="ids">Token ids [rows], int64.</param>
    /// <param name="positions">The position of each of them: the tokens that its row holds so far.</param>
    /// <param name="longest">The largest number of tokens that a row holds with its new one.</param>
    /// <param name="cache">The cache.</param>
    protected abstract Tensor DecodeStep(Tensor ids, long[] positions, int longest, KeyValueCache cache);

    /// <summary>
    /// Another object of this model for an adapter of its own: it computes with this model's parameters, but for those that are asked for as
    /// copies. This model has to outlive it.
    /// </summary>
    internal CausalLM CreateView(Func<string, bool> isCopied)
    {
        var shared = Parameters.Where(p => !isCopied(p.Key)).ToDictionary();
        var view = CreateLike(shared);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (name, parameter) in view.Parameters)
            if (!shared.ContainsKey(name))
                NamedParameters.Copy(Parameters[name], parameter);
        return view;
    }

    /// <summary><see cref="Untie"/>.</summary>
    internal void UntieHead() => Untie();

    /// <summary>A model of the same configuration and plan, uninitialized but for the parameters that it shares with this one.</summary>
    /// <param name="shared">Parameters to use, by name, instead of making them.</param>
    protected abstract CausalLM CreateLike(IReadOnlyDictionary<string, Parameter> shared);

    /// <summary>
    /// Gives the output layer a weight of its own, uninitialized, under <see cref="Head"/>'s name, in place of the embedding's;
    /// <see cref="PretrainedModel.Configuration"/> says so from then on.
    /// </summary>
    /// <exception cref="NotSupportedException">The family's output layer is always tied.</exception>
    protected virtual void Untie() => throw new NotSupportedException($"{Architecture} has no output layer of its own.");

    /// <inheritdoc/>
    protected override bool IsKnownExtra(string tensor) => base.IsKnownExtra(tensor) || CheckpointNames.IsValueHead(tensor);

    /// <summary>
    /// An output layer that differs from the embedding is loaded as it is, whatever config.json says of tying: as transformers does, and
    /// as nobody would store it for nothing.
    /// </summary>
    private protected override void ReadFurther(IWeightSource weights, IReadOnlySet<string> names, HashSet<string> used)
    {
        string name = Head.Layer.Name + ".weight";
        // Where the embedding itself is absent, the output layer's weight was read in its place.
        if (!IsTied || !names.Contains(name) || !used.Add(name))
            return;
        using var scope = NewDisposeScope();
        var tied = Head.Layer.Weight;
        var kept = tied as Int8Parameter;
        var stored = kept?.CreateLike() ?? new Parameter(empty_like(tied), requires_grad: false);
        using var scale = (stored as Int8Parameter)?.Scale;
        using (stored)
        {
            weights.ReadParameter(name, stored);
            if (kept?.IsSame((Int8Parameter)stored) ?? stored.Equals(tied))
                return;
            Untie();
            NamedParameters.Copy(stored, Head.Layer.Weight);
        }
        if (Head.Layer.Weight.requires_grad != tied.requires_grad)
            Head.Layer.Weight.requires_grad = tied.requires_grad;
        Note($"{weights.Path}: {name} differs from the input embedding; it was loaded as an output layer of its own"
            + (Configuration.Root.Has("tie_word_embeddings") ? ", although config.json ties the two." : "."));
    }

    /// <inheritdoc/>
    private protected override void SaveConfiguration(string folder, ScalarType? storeAs) => Saved(storeAs).WithGeneration().Save(folder);

    /// <summary>Embeddings and blocks from the bottom up: what comes before block <paramref name="layers"/>, and before the final norm.</summary>
    private Dictionary<string, Parameter> BottomParameters(int layers)
    {
        Dictionary<string, Parameter> bottom = [];
        bool inBlocks = false;
        foreach (var (name, parameter) in Parameters)
        {
            var block = CheckpointNames.BlockOf(name);
            if (layers == 0 || block >= layers || inBlocks && block is null)
                break;
            inBlocks |= block is not null;
            bottom.Add(name, parameter);
        }
        return bottom;
    }
}
