using System.Diagnostics.CodeAnalysis;
using static TorchSharp.torch;

namespace Rlhf.Models.Adapters;

/// <summary>
/// The model that a policy is held near to, or compared with: nothing of it is trained, and no pass through it keeps anything.
/// </summary>
/// <remarks>
/// R counted tokens, N packed tokens, D width. Whose memory it is, is settled here: a copy is freed with this object, another model stays
/// its owner's. Trainers dispose the reference that they are given; to dispose it twice does no harm.
/// </remarks>
public sealed class Reference : IDisposable
{
    private readonly bool owns;
    private readonly LoraAdapter? adapter;

    private Reference(CausalLM model, bool owns, LoraAdapter? adapter = null)
    {
        (Model, this.owns, this.adapter) = (model, owns, adapter);
        Head = adapter is null ? model.Head : new OutputHead(adapter.BaseHead(model)) { Scale = model.Head.Scale, Cap = model.Head.Cap };
    }

    /// <summary>The reference as a model; computes as the reference only within <see cref="AsReference"/>.</summary>
    public CausalLM Model { get; }

    /// <summary>Its output layer.</summary>
    public OutputHead Head { get; }

    /// <summary>Is it the policy itself with its adapter off?</summary>
    public bool IsPolicy => adapter is not null;

    /// <summary>A frozen copy of a policy as it is now.</summary>
    /// <param name="policy">The policy.</param>
    /// <param name="numSharedLayers">
    /// Embeddings and this many blocks from the bottom up are the policy's own and are frozen there too; null copies everything.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">There are not as many blocks, or less than 1 is asked for.</exception>
    public static Reference CopyOf(CausalLM policy, int? numSharedLayers = null)
    {
        if (numSharedLayers is { } layers)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(layers, 1, nameof(numSharedLayers));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(layers, policy.LayerCount, nameof(numSharedLayers));
        }
        return new(policy.CreateFrozenCopy(numSharedLayers ?? 0), owns: true);
    }

    /// <summary>Another model, which stays the caller's.</summary>
    public static Reference To(CausalLM model) => new(model, owns: false);

    /// <summary>
    /// The policy itself with its adapter off, which costs no memory. What the policy trains beside the adapter's updates is off as well,
    /// but not biases (<see cref="LoraConfig.Bias"/>).
    /// </summary>
    /// <exception cref="InvalidOperationException">The policy has no adapter.</exception>
    public static Reference AdaptersOff(CausalLM policy) => new(policy, owns: false,
        policy.Adapter ?? throw new InvalidOperationException("The policy has no adapter; take a copy of it as the reference (CopyOf)."));

    /// <summary><see cref="AdaptersOff"/> for a policy with an adapter, otherwise <see cref="CopyOf"/>.</summary>
    public static Reference Of(CausalLM policy, int? numSharedLayers = null) =>
        policy.Adapter is not null && numSharedLayers is null ? AdaptersOff(policy) : CopyOf(policy, numSharedLayers);

    /// <summary><see cref="To"/>: a model can stand where a reference is asked for.</summary>
    /// <param name="model">The model; null gives null.</param>
    [return: NotNullIfNotNull(nameof(model))]
    public static implicit operator Reference?(CausalLM? model) => model is null ? null : To(model);

    /// <summary>Hidden states [N, D] after the final normalization.</summary>
    public Tensor Forward(PackedBatch batch)
    {
        using var noGrad = no_grad();
        using var reference = AsReference();
        return Model.Forward(batch);
    }

    /// <summary>Until the result is disposed, <see cref="Model"/> computes as the reference: for generating with it.</summary>
    public IDisposable? AsReference() => adapter?.Off();

    /// <summary>Logprobs [R] of the counted tokens.</summary>
    public Tensor Logprobs(ScoredRows rows)
    {
        using var noGrad = no_grad();
        using var packed = Forward(rows.Batch);
        using var hidden = rows.Hidden(packed);
        return Head.Logprobs(hidden, rows.Targets);
    }

    /// <summary>Frees a copy.</summary>
    public void Dispose()
    {
        if (owns)
            Model.Dispose();
    }
}
