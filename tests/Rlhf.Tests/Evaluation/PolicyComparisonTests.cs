using System.Text.Json;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runs;
using Rlhf.Runtime.Text;
using static TorchSharp.torch;

namespace Rlhf.Tests.Evaluation;

public class PolicyComparisonTests
{
    // Logprobs of two responses under policy and reference. KL: ((-1 - -2) + (-1.5 - -2)) / 2 responses = 0.75.
    private static readonly PolicySamples After = new(
        [new("q0", "a b"), new("q1", "a")], [[1, 2], [1]], [3, 1], [0.5f, 0.25f], [[-0.5f, -0.5f], [-1.5f]], [[-1, -1], [-2]]);

    private static readonly PolicySamples Before = new(
        [new("q0", "c c c"), new("q1", "d")], [[3, 3, 3], [4]], [1, 2], [0, 1], [[-1, -1, -1], [-3]], [[-1, -1, -1], [-3]]);

    [Fact]
    public void Divergence_and_perplexity_equal_the_hand_calculation()
    {
        Assert.Equal(0.75, After.Kl, 12);
        Assert.Equal(0, Before.Kl, 12);
        Assert.Equal(Math.Exp(4.0 / 3), After.RefPerplexity, 9);
        Assert.Equal(Math.Exp(6.0 / 4), Before.RefPerplexity, 9);
        Assert.Equal((1.5, 2.0), (After.MeanLength, Before.MeanLength));
        Assert.Equal((1.0, 0.5), (After.Distinct2, Before.Distinct2));
        Assert.Equal((0.0, 0.5), (After.Repetition2, Before.Repetition2));
    }

    [Fact]
    public void A_comparison_lines_up_the_responses_to_each_query()
    {
        var comparison = EvaluationComparison.Of(Before, After);
        Assert.Equal(new EvaluationRow("q0", "c c c", 1, "a b", 3), comparison.Rows[0]);
        Assert.Equal((1.5, 2.0), (comparison.Before.Reward.Mean, comparison.After.Reward.Mean));
        Assert.Equal((0.5, 0.375), (comparison.Before.Judge!.Mean, comparison.After.Judge!.Mean));
        // Gains +2 and -1.
        Assert.Equal(0.5, comparison.RewardGain.Mean, 12);
        var otherQueries = After with { Completions = [new("q1", "a"), new("q0", "b")] };
        Assert.Throws<ArgumentException>(() => EvaluationComparison.Of(Before, otherQueries));
    }

    [Fact]
    public void A_comparison_becomes_tables_of_a_model_card()
    {
        var tables = ComparisonTables.Of(EvaluationComparison.Of(Before, After), samples: 1);
        Assert.Equal("2 held-out queries", tables[0].Heading);
        Assert.Contains(["reward, median", "1.50", "2.00"], tables[0].Rows);
        Assert.Contains(["KL from before, nats per response", "0.00", "0.75"], tables[0].Rows);
        Assert.Equal("judge, mean (95 % interval)", tables[0].Rows[3][0]);
        Assert.Equal([["q0", "c c c", "1.00", "a b", "3.00"]], tables[1].Rows);
        Assert.All(tables, t => Assert.All(t.Rows, row => Assert.Equal(t.Columns.Count, row.Count)));
    }

    [Fact]
    public void A_number_that_rounds_to_zero_has_no_sign_in_cards_and_on_the_screen()
    {
        Assert.Equal(["0.00", "0.00", "-0.01", "1,234.50", "–"],
            new[] { -0.0, -0.004, -0.006, 1234.5, double.NaN }.Select(n => Decimals.Text(n)));
        var near = After with { Logprobs = [[-1.001f, -1], [-2.001f]] }; // a KL of -0.001
        Assert.Contains(["KL from before, nats per response", "0.00", "0.00"],
            ComparisonTables.Of(EvaluationComparison.Of(Before, near))[0].Rows);
    }

    [Fact]
    public void The_summary_has_exactly_the_keys_that_scripts_read()
    {
        using var folder = new Fixtures.TemporaryFolder();
        RunSummary.Of(EvaluationComparison.Of(Before, After), 40, 12.5, "runs/ä/model").Save(folder.Path);
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder.Path, "summary.json")));
        Assert.Equal(
            ["steps", "seconds", "queries", "reward_before", "reward_after", "kl", "distinct2_before", "distinct2_after",
                "perplexity_before", "perplexity_after", "judge_before", "judge_after", "model_dir"],
            json.RootElement.EnumerateObject().Select(p => p.Name));
        var reward = json.RootElement.GetProperty("reward_after");
        Assert.Equal(["mean", "median", "ci95"], reward.EnumerateObject().Select(p => p.Name));
        Assert.Equal((2.0, 2.0), (reward.GetProperty("mean").GetDouble(), reward.GetProperty("median").GetDouble()));
        Assert.Equal(2, reward.GetProperty("ci95").GetArrayLength());
        Assert.Equal(0.375, json.RootElement.GetProperty("judge_after").GetDouble(), 12);
        Assert.Equal("runs/ä/model", json.RootElement.GetProperty("model_dir").GetString());
    }

    [Fact]
    public void A_stopped_run_has_a_summary_without_evaluation()
    {
        using var json = JsonDocument.Parse(RunSummary.Of(null, 3, 1.5, "m").ToJson());
        Assert.Equal(["steps", "seconds", "model_dir"], json.RootElement.EnumerateObject().Select(p => p.Name));
    }

    [Fact]
    public void Without_a_judge_or_a_finite_perplexity_the_summary_leaves_them_out()
    {
        var before = Before with { JudgeScores = null };
        var after = After with { JudgeScores = null, RefLogprobs = [[-1e9f, -1e9f], [-1e9f]] };
        using var json = JsonDocument.Parse(RunSummary.Of(EvaluationComparison.Of(before, after), 1, 1, "m").ToJson());
        Assert.False(json.RootElement.TryGetProperty("judge_before", out _));
        Assert.False(json.RootElement.TryGetProperty("perplexity_after", out _));
        Assert.True(json.RootElement.TryGetProperty("perplexity_before", out _));
    }

    [Fact]
    public void A_policy_compared_with_itself_gains_nothing()
    {
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        using var twin = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        var comparison = Evaluator(model, judge: false).Compare(model, twin);
        Assert.All(comparison.Rows, row => Assert.Equal(row.ResponseBefore, row.ResponseAfter));
        Assert.Equal(0, comparison.After.Kl, 1e-4);
        Assert.Equal(comparison.Before.Perplexity, comparison.After.Perplexity, 1e-2);
        Assert.Null(comparison.After.Judge);
    }

    [Fact]
    public void Lengths_are_honoured_and_divergence_is_measured_on_the_new_responses()
    {
        using var before = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        using var after = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        using (no_grad())
            after.Parameters["transformer.ln_f.weight"].mul_(1.5);
        int calls = 0;
        var evaluator = Evaluator(before, judge: true, onReward: () => calls++);
        var samples = evaluator.Sample(after, before);

        Assert.Equal(1, calls);
        Assert.Equal([6, 3, 9], samples.Responses.Select(r => r.Length));
        // The divergence once more, from full logits of each text alone.
        double kl = 0;
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        for (int b = 0; b < samples.Count; b++)
        {
            int[] ids = [.. Queries[b], .. samples.Responses[b]];
            using var row = PackedBatch.FromRows([ids]);
            var policy = nn.functional.log_softmax(after.Logits(after.Forward(row)), 1);
            var reference = nn.functional.log_softmax(before.Logits(before.Forward(row)), 1);
            for (int t = Queries[b].Length; t < ids.Length; t++)
                kl += policy[t - 1, ids[t]].item<float>() - reference[t - 1, ids[t]].item<float>();
        }
        Assert.Equal(kl / 3, samples.Kl, 1e-4);
        Assert.NotNull(samples.JudgeScores);
    }

    private static readonly int[][] Queries = [[5, 6], [7, 8, 9], [100]];

    private static PolicyEvaluator Evaluator(CausalLM model, bool judge, Action? onReward = null)
    {
        var reward = new DelegateReward("length", completions =>
        {
            onReward?.Invoke();
            return [.. completions.Select(c => (float)c.Response.Length)];
        });
        var second = judge ? new DelegateReward("judge", c => c.Text.Length) : null;
        return new PolicyEvaluator(new NumberTokenizer(model.VocabSize, endToken: model.VocabSize - 1), Queries, reward, second)
        {
            ResponseLengths = [6, 3, 9],
            Generation = new GenerationConfig { EosTokenId = -1 },
            Seed = 5,
        };
    }
}
