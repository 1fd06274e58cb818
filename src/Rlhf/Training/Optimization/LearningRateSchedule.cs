namespace Rlhf.Training.Optimization;

/// <summary>What the learning rate does over a run.</summary>
public enum LearningRateSchedule
{
    /// <summary>Stays as it is (TRL's PPO default).</summary>
    Constant,

    /// <summary>Falls to 0 in a straight line.</summary>
    Linear,

    /// <summary>Falls to 0 along half a cosine.</summary>
    Cosine,
}
