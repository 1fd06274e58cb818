namespace Rlhf.Rewards;

/// <summary>One of several rewards that make up a score.</summary>
/// <param name="Name">Name of the reward.</param>
/// <param name="Weight">What its scores are multiplied with in the sum.</param>
/// <param name="Scores">Its scores before weighting, one per completion.</param>
public sealed record ScoreComponent(string Name, double Weight, IReadOnlyList<float> Scores);
