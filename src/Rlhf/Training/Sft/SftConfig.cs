using System.ComponentModel;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.Sft;

/// <summary>Settings of <see cref="SftTrainer"/>, the first stage: a language model learns the texts.</summary>
/// <remarks>By default the learning rate rises to 5e-5 over 3 % of the steps and falls along half a cosine.</remarks>
public sealed record SftConfig : TrainerConfig
{
    /// <summary>The defaults.</summary>
    public SftConfig() => (LearningRate, LearningRateSchedule, WarmupRatio) = (5e-5, LearningRateSchedule.Cosine, 0.03);

    /// <summary>Tokens per sequence; texts are packed into sequences of this length. Null, the default, takes the model's context, and at most 1024.</summary>
    [Description("Tokens per sequence; default: 1024, or the model's context where that is shorter.")]
    public override int? MaxLength { get; init; }

    /// <summary>
    /// Join texts with the end token and cut them into full sequences; otherwise one text per sequence, truncated.
    /// </summary>
    [Description("Pack texts into full sequences.")]
    public bool Packing { get; init; } = true;

    /// <summary>For prompt/completion data: take the loss on the completion alone.</summary>
    [Description("Loss on completions only (prompt/completion data).")]
    public bool CompletionOnlyLoss { get; init; } = true;

    /// <summary>
    /// For conversations: take the loss on what the assistant says alone, in all its turns, end tokens included. Default true; TRL's
    /// default is false.
    /// </summary>
    [Description("Loss on the assistant's messages only (conversations).")]
    public bool AssistantOnlyLoss { get; init; } = true;
}
