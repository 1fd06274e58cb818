using System.Text.Json;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using Rlhf.Training.Groups;
using Rlhf.Training.Grpo;
using Rlhf.Training.Loop;
using Rlhf.Training.Rloo;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Groups;

/// <summary>
/// GrpoTrainer.Step and RlooTrainer.Step against steps that the real trainers of TRL 1.x took (tests/fixtures/README-modern.md, "grpo").
/// </summary>
public sealed class GroupParityTests
{
    public static TheoryData<string> Cases()
    {
        string[] found = [.. new[] { "grpo", "rloo" }.Select(kind => Path.Combine(Fixtures.Root, kind)).Where(Directory.Exists)
            .SelectMany(Directory.GetDirectories).Where(d => File.Exists(Path.Combine(d, "case.json")))
            .Select(d => Path.GetRelativePath(Fixtures.Root, d).Replace('\\', '/')).Order()];
        return [.. found.Length > 0 ? found : ["grpo/grpo", "rloo/rloo"]];
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void EveryNumberOfAStepMatches(string name) => Run(name);

    /// <summary>So it is where the answers of a group follow one copy of their prompt.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void SoItIsWherePromptsAreReadOnce(string name)
    {
        Assert.SkipUnless(TileProduct.IsSupported, "This processor has no AVX-512; prompts are read with each answer on it.");
        using var shortcuts = new Shortcuts(fusedBlocks: true, MatrixLibrary.OneDnn, packsAttention: true);
        Run(name);
    }

    private static void Run(string name)
    {
        using var scope = NewDisposeScope();
        using var json = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path(name, "case.json")));
        var test = json.RootElement;
        var tensors = FixtureTensors.Load(Fixtures.Path(name, "tensors.safetensors"));
        var settings = test.GetProperty("settings");
        string Folder(string role) => Fixtures.Path("preference-models", test.GetProperty("model").GetString()!, test.GetProperty(role).GetString()!);
        using var policy = AutoModelForCausalLM.FromPretrained(Folder("policy"));
        using var reference = AutoModelForCausalLM.FromPretrained(Folder("reference"));
        reference.Freeze();

        var steps = test.GetProperty("steps").EnumerateArray().ToArray();
        bool isRloo = name.StartsWith("rloo/", StringComparison.Ordinal);
        int rows = steps[0].GetProperty("data").GetArrayLength();
        GroupConfig config = isRloo ? Rloo(test, settings, rows) : Grpo(test, settings, rows);
        using GroupTrainer trainer = config is RlooConfig rloo
            ? new RlooTrainer(policy, rloo, rloo.Beta > 0 ? reference : null)
            : new GrpoTrainer(policy, (GrpoConfig)config, config.Beta > 0 ? reference : null);
        var limits = new Noise(test.GetProperty("rounding_noise"));
        double[] weights = [.. Doubles(settings, "reward_weights")];
        for (int i = 0; i < steps.Length; i++)
        {
            var rollout = RolloutOf(test, steps[i], tensors, $"step{i}.", weights, reference, offPolicy: isRloo && Flag(settings, "off"));
            Compare(trainer, rollout, steps[i], tensors, $"step{i}.", limits);
        }
    }

    private static void Compare(GroupTrainer trainer, Rollout rollout, JsonElement step, FixtureTensors tensors, string prefix, Noise limits)
    {
        Dictionary<string, float[]> gradients = [];
        trainer.AfterBackward = () =>
        {
            foreach (var (name, parameter) in trainer.Policy.Parameters)
                gradients[name] = Host(parameter.grad!);
        };
        float[] scores = [.. Enumerable.Range(0, rollout.Queries.Count)
            .Select(b => (float)rollout.Components.Sum(c => c.Weight * c.Scores[b]))];
        var statistics = trainer.Step(rollout, scores);
        var scalars = statistics.Scalars();

        limits.Check(prefix + "advantages", tensors.Floats(prefix + "advantages"), statistics.Advantages);
        double noise = Math.Max(limits.Of(prefix + "per_token_logps"), limits.Of(prefix + "old_logps"));
        foreach (var expected in step.GetProperty("metrics").EnumerateObject().Append(step.EnumerateObject().Single(p => p.Name == "loss")))
        {
            Assert.True(scalars.ContainsKey(expected.Name), $"The metric {expected.Name} is missing.");
            Near(prefix + expected.Name, expected.Value.GetDouble(), scalars[expected.Name], noise, relative: 1e-4);
        }
        Near(prefix + "grad_norm", step.GetProperty("grad_norm").GetDouble(), scalars["grad_norm"], noise, relative: 1e-3);
        if (tensors.Has(prefix + "std_rewards"))
            Near(prefix + "reward_std", tensors.Floats(prefix + "std_rewards").Average(s => (double)s), scalars["reward_std"], 1e-5, 1e-5);
        if (tensors.Has(prefix + "old_logps"))
            limits.Check(prefix + "old_logps", tensors.Floats(prefix + "old_logps"), statistics.Logprobs);
        if (tensors.Has(prefix + "kl") && statistics.Kls is { } kls)
            limits.Check(prefix + "kl", tensors.Floats(prefix + "kl"), kls);
        string[] parameters = [.. trainer.Policy.Parameters.Select(p => p.Key)];
        Assert.All(tensors.Names.Where(n => n.StartsWith(prefix + "grad.", StringComparison.Ordinal)), n => Assert.Contains(n[(prefix.Length + 5)..], parameters));
        Assert.All(parameters, n => Assert.True(tensors.Has(prefix + "weights." + n), n));
        foreach (var (name, parameter) in trainer.Policy.Parameters)
        {
            if (tensors.Has(prefix + "grad." + name))
                limits.Check(prefix + "grad", WithoutKeyBias(name, tensors.Floats(prefix + "grad." + name)), WithoutKeyBias(name, gradients[name]), name);
            if (tensors.Has(prefix + "weights." + name))
                limits.Check(prefix + "weights", WithoutKeyBias(name, tensors.Floats(prefix + "weights." + name)), WithoutKeyBias(name, Host(parameter)), name);
        }
    }

    /// <summary>The answers of a step; their old logprobs are the reference's where the case gives some.</summary>
    private static Rollout RolloutOf(
        JsonElement test, JsonElement step, FixtureTensors tensors, string prefix, double[] weights, CausalLM reference, bool offPolicy)
    {
        var data = step.GetProperty("data").EnumerateArray().ToArray();
        int[][] prompts = [.. data.Select(d => Ints(d.GetProperty("prompt_ids")))], answers = [.. data.Select(d => Ints(d.GetProperty("completion_ids")))];
        float[][] rewards = [.. data.Select(d => d.GetProperty("rewards").EnumerateArray().Select(r => r.GetSingle()).ToArray())];
        int end = test.GetProperty("pad_token_id").GetInt32();
        float[][]? old = null;
        if (tensors.Has(prefix + "old_per_token_logps"))
        {
            var shape = tensors.Shape(prefix + "old_per_token_logps");
            old = [.. tensors.Floats(prefix + "old_per_token_logps").Chunk((int)shape[1]).Zip(answers, (row, answer) => row[..answer.Length])];
        }
        else if (offPolicy)
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            using var scored = ScoredRows.Of([.. prompts.Zip(answers, TokenRow.Of)]);
            old = scored.PerRow(reference.Head.Logprobs(scored.Hidden(reference.Forward(scored.Batch)), scored.Targets));
        }
        return new(prompts, answers, old)
        {
            GroupSize = test.GetProperty("settings").GetProperty("num_generations").GetInt32(),
            EndedByEos = [.. answers.Select(a => a[^1] == end)],
            Components = [.. Enumerable.Range(0, rewards[0].Length).Select(k =>
                new ScoreComponent($"reward{k}", k < weights.Length ? weights[k] : 1, [.. rewards.Select(r => r[k])]))],
        };
    }

    private static GrpoConfig Grpo(JsonElement test, JsonElement settings, int rows)
    {
        var config = new GrpoConfig { MaxCompletionLength = 16, LearningRate = test.GetProperty("learning_rate").GetDouble(), BatchSize = rows, MiniBatchSize = rows };
        foreach (var s in settings.EnumerateObject())
            config = s.Name switch
            {
                "loss_type" => config with { LossType = Word<GrpoLossType>(s.Value) },
                "scale_rewards" => config with { ScaleRewards = Word<RewardScale>(s.Value) },
                "importance_sampling_level" => config with { ImportanceSamplingLevel = Word<ImportanceSamplingLevel>(s.Value) },
                "multi_objective_aggregation" => config with { MultiObjectiveAggregation = Word<RewardAggregation>(s.Value) },
                "delta" => config with { Delta = s.Value.GetDouble() },
                "top_entropy_quantile" => config with { TopEntropyQuantile = s.Value.GetDouble() },
                "use_bias_correction_kl" => config with { UseBiasCorrectionKl = s.Value.GetBoolean() },
                "sapo_temperature_pos" => config with { SapoTemperaturePos = s.Value.GetDouble() },
                "sapo_temperature_neg" => config with { SapoTemperatureNeg = s.Value.GetDouble() },
                "reward_weights" => config,
                _ => (GrpoConfig)Shared(config, s),
            };
        return (GrpoConfig)Finish(config, test);
    }

    private static RlooConfig Rloo(JsonElement test, JsonElement settings, int rows)
    {
        var config = new RlooConfig { MaxCompletionLength = 16, LearningRate = test.GetProperty("learning_rate").GetDouble(), BatchSize = rows, MiniBatchSize = rows };
        foreach (var s in settings.EnumerateObject())
            config = s.Name switch
            {
                "normalize_advantages" => config with { NormalizeAdvantages = s.Value.GetBoolean() },
                "reward_clip_range" => config with { RewardClip = s.Value[1].GetDouble() },
                "off" or "reward_weights" => config,
                _ => (RlooConfig)Shared(config, s),
            };
        return (RlooConfig)Finish(config, test);
    }

    private static GroupConfig Shared(GroupConfig config, JsonProperty s) => s.Name switch
    {
        "num_generations" => config with { NumGenerations = s.Value.GetInt32() },
        "beta" => config with { Beta = s.Value.GetDouble() },
        "epsilon" or "epsilon_low" => config with { Epsilon = s.Value.GetDouble() },
        "epsilon_high" => config with { EpsilonHigh = s.Value.GetDouble() },
        "temperature" => config with { Temperature = s.Value.GetDouble() },
        "mask_truncated" or "mask_truncated_completions" => config with { MaskTruncatedCompletions = s.Value.GetBoolean() },
        "max_completion_length" => config with { MaxCompletionLength = s.Value.GetInt32() },
        _ => throw new NotSupportedException($"The case has the setting {s.Name}, which no trainer has."),
    };

    private static GroupConfig Finish(GroupConfig config, JsonElement test) =>
        config with { MaxGradNorm = test.TryGetProperty("max_grad_norm", out var norm) ? norm.GetDouble() : null };

    private static T Word<T>(JsonElement value) where T : struct, Enum => Enum.Parse<T>(value.GetString()!.Replace("_", ""), ignoreCase: true);

    private static bool Flag(JsonElement settings, string name) => settings.TryGetProperty(name, out var value) && value.GetBoolean();

    private static IEnumerable<double> Doubles(JsonElement settings, string name) =>
        settings.TryGetProperty(name, out var list) ? list.EnumerateArray().Select(v => v.GetDouble()) : [];

    private static int[] Ints(JsonElement list) => [.. list.EnumerateArray().Select(v => v.GetInt32())];

    private static float[] Host(Tensor tensor)
    {
        using var host = tensor.detach().cpu().contiguous();
        return host.data<float>().ToArray();
    }

    /// <summary>The middle third of GPT-2's attention bias has no effect, and a gradient of rounding alone.</summary>
    private static float[] WithoutKeyBias(string name, float[] values) => name.EndsWith("attn.c_attn.bias", StringComparison.Ordinal)
        ? [.. values[..(values.Length / 3)], .. values[(2 * values.Length / 3)..]] : values;

    private static void Near(string what, double expected, double actual, double noise, double relative) =>
        Assert.True(Math.Abs(expected - actual) <= 20 * noise + 1e-5 + relative * Math.Abs(expected), $"{what}: expected {expected:R}, actual {actual:R}");

    /// <summary>20 times the rounding noise of the case, plus 1e-5.</summary>
    private sealed class Noise(JsonElement noise)
    {
        public double Of(string name) => noise.TryGetProperty(name, out var value) ? value.GetDouble() : 0;

        public void Check(string name, float[] expected, float[] actual, string part = "")
        {
            Assert.Equal(expected.Length, actual.Length);
            double limit = 20 * Of(name) + 1e-5;
            for (int i = 0; i < expected.Length; i++)
                Assert.True(Math.Abs(expected[i] - actual[i]) <= limit, $"{name} {part}[{i}]: expected {expected[i]:R}, actual {actual[i]:R}, limit {limit:R}");
        }
    }
}
