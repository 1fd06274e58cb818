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

    private Reference(CausalLM model, bool owns) => (Model, this.owns) = (model, owns);

    /// <summary>The reference as a model.</summary>
    public CausalLM Model { get; }

    /// <summary>Its output layer.</summary>
    public OutputHead Head => Model.Head;

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

    /// <summary><see cref="To"/>: a model can stand where a reference is asked for.</summary>
    /// <param name="model">The model; null gives null.</param>
    [return: NotNullIfNotNull(nameof(model))]
    public static implicit operator Reference?(CausalLM? model) => model is null ? null : To(model);

    /// <summary>Hidden states [N, D] after the final normalization.</summary>
    public Tensor Forward(PackedBatch batch)
    {
        using var noGrad = no_grad();
        return Model.Forward(batch);
    }

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
