using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>A model that gives each row of tokens one logit per label.</summary>
public abstract class SequenceClassifier(Device? device) : PretrainedModel(device)
{
    /// <summary>Label names by index, such as NEGATIVE and POSITIVE.</summary>
    public abstract IReadOnlyList<string> Labels { get; }

    /// <summary>Longest row in tokens.</summary>
    public abstract int MaxPositions { get; }

    /// <summary>Logits [B, labels].</summary>
    public abstract Tensor Forward(PackedBatch batch);
}
