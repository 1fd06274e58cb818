namespace Rlhf.Training.Sft;

/// <summary>Being written.</summary>
public sealed class SftTrainer;
