using System.Diagnostics;
using Rlhf.Data;
using Rlhf.Generation;
using Rlhf.Rewards;

namespace Rlhf.Training.Loop;

/// <summary>A step's answers and what they scored, group by group; groups can be replaced.</summary>
/// <param name="groups">Queries of the step.</param>
/// <param name="groupSize">Answers to each.</param>
internal sealed class Answers(int groups, int groupSize)
{
    private readonly int[][] queries = new int[groups * groupSize][], responses = new int[groups * groupSize][];
    private readonly float[][] logprobs = new float[groups * groupSize][], values = new float[groups * groupSize][];
    private readonly bool[] ended = new bool[groups * groupSize];
    private readonly Completion[] completions = new Completion[groups * groupSize];
    private readonly float[] scores = new float[groups * groupSize];
    private (string Name, double Weight, float[] Scores)[] components = [];
    private bool fromPolicy, hasValues;

    /// <summary>Numbers of the groups.</summary>
    public IEnumerable<int> Groups => Enumerable.Range(0, groups);

    /// <summary>Texts, row by row.</summary>
    public IReadOnlyList<Completion> Completions => completions;

    /// <summary>Scores, row by row.</summary>
    public IReadOnlyList<float> Scores => scores;

    /// <summary>The groups whose rewards, each of them, are the same for all answers.</summary>
    public int[] WithoutSignal => [.. Groups.Where(g => components.All(c => PolicyGuards.AreEqual(c.Scores[(g * groupSize)..((g + 1) * groupSize)])))];

    /// <summary>Puts groups of answers in their places.</summary>
    public void Put(int[] places, Query[] batch, GenerationResult generated, Completion[] texts, WeightedScores scored)
    {
        (fromPolicy, hasValues) = (generated.FromPolicy, generated.Values is not null);
        if (components.Length == 0)
            components = [.. scored.Components.Select(c => (c.Name, c.Weight, new float[scores.Length]))];
        for (int i = 0; i < batch.Length; i++)
        {
            int row = places[i / groupSize] * groupSize + i % groupSize;
            (queries[row], responses[row], logprobs[row]) = (batch[i].TokenIds, generated.Responses[i], generated.Logprobs[i]);
            (values[row], ended[row]) = (generated.Values?[i] ?? [], generated.EndedByEos[i]);
            (completions[row], scores[row]) = (texts[i], scored.Total[i]);
            for (int k = 0; k < components.Length; k++)
                components[k].Scores[row] = scored.Components[k].Scores[i];
        }
    }

    /// <summary>What a trainer learns from.</summary>
    public Rollout ToRollout() => new GenerationResult(responses, logprobs, hasValues ? values : null, ended, fromPolicy).ToRollout(queries) with
    {
        GroupSize = groupSize,
        Components = [.. components.Select(c => new ScoreComponent(c.Name, c.Weight, c.Scores))],
    };
}

/// <summary>What a step's answers and scores took.</summary>
internal sealed class StepTimes(Stopwatch clock)
{
    private TimeSpan last;

    /// <summary>Time that sampling took.</summary>
    public TimeSpan Generation { get; private set; }

    /// <summary>Time that scoring took.</summary>
    public TimeSpan Reward { get; private set; }

    public void Begin() => last = clock.Elapsed;

    public void Generated() => Generation += Since();

    public void Scored() => Reward += Since();

    private TimeSpan Since()
    {
        var (before, now) = (last, clock.Elapsed);
        last = now;
        return now - before;
    }
}
