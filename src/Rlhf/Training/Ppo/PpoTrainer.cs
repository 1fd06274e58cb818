namespace Rlhf.Training.Ppo;

/// <summary>Being written.</summary>
public sealed class PpoTrainer;
