using Rlhf.Data.Batching;
using Rlhf.Generation;

namespace Rlhf.Training.Loop;

/// <summary>How a <see cref="RolloutRun"/> samples.</summary>
/// <param name="Sampling">How tokens are chosen; null is pure sampling, from the policy's own distribution.</param>
/// <param name="Lengths">Draws the length of each response in tokens; null takes <see cref="GenerationConfig.MaxNewTokens"/> for all.</param>
/// <param name="AnswersPerQuery">Responses to each query of a step, for algorithms that compare them; they stand in a row.</param>
public sealed record RolloutPlan(GenerationConfig? Sampling = null, LengthSampler? Lengths = null, int AnswersPerQuery = 1)
{
    /// <summary>
    /// How often groups whose answers all have the same reward, from which nothing can be learned, are replaced by answers to other queries
    /// (DAPO's dynamic sampling); 0, the default, keeps them. Those that are left after the last time stay.
    /// </summary>
    public int ResampleRounds { get; init; }

    /// <summary>The lesson's response lengths: 4 to 15 tokens.</summary>
    public static LengthSampler LessonLengths { get; } = new(4, 16);

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        foreach (var problem in Sampling?.Validate() ?? [])
            yield return problem;
        if (AnswersPerQuery < 1)
            yield return $"AnswersPerQuery is {AnswersPerQuery}; it must be at least 1.";
        if (ResampleRounds < 0)
            yield return $"ResampleRounds is {ResampleRounds}; it must be 0 or more.";
        else if (ResampleRounds > 0 && AnswersPerQuery == 1)
            yield return "ResampleRounds needs several answers to each query; raise AnswersPerQuery, or set it to 0.";
    }
}
