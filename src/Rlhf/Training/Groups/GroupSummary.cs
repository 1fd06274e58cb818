using Rlhf.Rewards;
using Rlhf.Training.Loop;

namespace Rlhf.Training.Groups;

/// <summary>Makes a step's statistics of what the step computed.</summary>
internal static class GroupSummary
{
    public static GroupStatistics Of(
        long step, StepRows rows, Rollout rollout, IReadOnlyList<float> scores, AnswerLogprobs before, GroupAdvantages advantages,
        IReadOnlyList<GroupMiniBatch> updates, double learningRate, long trainedTokens, GroupGuards guards, StepWatch watch)
    {
        float[] PerRow(Func<int, double> value) => [.. Enumerable.Range(0, rows.Count).Select(b => (float)value(b))];
        double Sum(int b, Func<int, double> ofToken)
        {
            double sum = 0;
            for (int i = rows.Offsets[b]; i < rows.Offsets[b + 1]; i++)
                sum += ofToken(i) * rows.Mask[i];
            return sum;
        }
        var lengths = PerRow(b => rows.Offsets[b + 1] - rows.Offsets[b]);
        var numbers = new Dictionary<string, double>
        {
            ["reward_std"] = advantages.Deviations.Average(),
            ["num_tokens"] = trainedTokens,
            ["prompts/mean_length"] = Enumerable.Range(0, rows.Count).Average(rows.QueryLength),
        };
        AddComponents(numbers, rollout.Components);
        AddLengths(numbers, lengths, rollout.EndedByEos);
        watch.Done("calc_stats");
        foreach (var (name, value) in guards.Counts.Concat(watch.Seconds()))
            numbers[name] = value;
        return new()
        {
            Step = step,
            Scores = [.. scores],
            Advantages = advantages.Values,
            QueryLengths = PerRow(b => rows.QueryLength(b)),
            ResponseLengths = lengths,
            Logprobs = PerRow(b => Sum(b, i => before.Logprobs[i])),
            Kls = before.Kls.Length > 0 ? PerRow(b => Sum(b, i => before.Kls[i])) : null,
            GroupsWithoutSignal = scores.Chunk(rollout.GroupSize).Average(g => PolicyGuards.AreEqual(g) ? 1.0 : 0.0),
            MiniBatches = updates,
            LearningRate = learningRate,
            Numbers = numbers,
            Warnings = guards.Warnings,
        };
    }

    private static void AddComponents(Dictionary<string, double> numbers, IReadOnlyList<ScoreComponent> components)
    {
        foreach (var component in components)
        {
            double[] scores = [.. component.Scores.Select(s => (double)s)];
            numbers[$"rewards/{component.Name}/mean"] = scores.Average();
            numbers[$"rewards/{component.Name}/std"] = GroupMath.Deviation(scores);
        }
    }

    private static void AddLengths(Dictionary<string, double> numbers, float[] lengths, IReadOnlyList<bool>? ended)
    {
        Add("", lengths);
        if (ended is null)
            return;
        numbers["completions/clipped_ratio"] = ended.Average(e => e ? 0.0 : 1.0);
        Add("_terminated", [.. lengths.Where((_, b) => ended[b])]);

        void Add(string kind, float[] of)
        {
            if (of.Length == 0)
                return;
            numbers[$"completions/mean{kind}_length"] = of.Average();
            numbers[$"completions/min{kind}_length"] = of.Min();
            numbers[$"completions/max{kind}_length"] = of.Max();
        }
    }
}
