namespace Rlhf.Training.RewardModeling;

/// <summary>Being written.</summary>
public sealed class RewardTrainer;
