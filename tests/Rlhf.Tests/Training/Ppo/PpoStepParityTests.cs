using System.Text.Json;
using System.Text.RegularExpressions;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Training.Ppo;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>PpoTrainer.Step against steps that the real TRL 0.11.4 took (tests/fixtures/README.md, "ppo-step").</summary>
public sealed partial class PpoStepParityTests
{
    public static TheoryData<string> Cases()
    {
        // ppo-step, and families/ppo-step-llama and the like.
        string[] roots = [.. new[] { Fixtures.Root, Path.Combine(Fixtures.Root, "families") }.Where(Directory.Exists)
            .SelectMany(root => Directory.GetDirectories(root, "ppo-step*"))
            .Where(d => Directory.Exists(Path.Combine(d, "policy")))];
        string[] found = [.. roots.SelectMany(Directory.GetDirectories).Where(d => File.Exists(Path.Combine(d, "case.json")))
            .Select(d => Path.GetRelativePath(Fixtures.Root, d)).Order()];
        return [.. found.Length > 0 ? found : ["ppo-step/single_update"]];
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void EveryNumberOfAStepMatches(string name)
    {
        using var scope = NewDisposeScope();
        var test = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path(name, "case.json"))).RootElement;
        var tensors = SafeTensors.Load(Fixtures.Path(name, "tensors.safetensors"));
        var limits = new Limits(test.GetProperty("rounding_noise"));

        var config = Config(test);
        using var policy = CausalLMWithValueHead.FromPretrained(Fixtures.Path(name, "..", "policy"));
        string adapter = Path.Combine(Fixtures.Root, name, "..", "adapter");
        if (Directory.Exists(adapter))
            LoraAdapter.Load(policy.PretrainedModel, adapter, isTrained: true);
        // Where there is an adapter, the reference is the policy without it.
        using var reference = config.NumSharedLayers is null && policy.PretrainedModel.Adapter is null
            ? AutoModelForCausalLM.FromPretrained(Fixtures.Path(name, "..", "reference")) : null;
        reference?.Freeze();
        using var trainer = new PpoTrainer(policy, config, reference);
        trainer.Compatibility = new TrlBehavior
        {
            ClipsFirstStepOnly = ClippingSawNothing(test),
            WhitensPadding = config.WhitenRewards,
            PositionsCountPadding = test.GetProperty("padding_side").GetString() == "left",
        };
        var steps = test.GetProperty("steps").EnumerateArray().ToArray();
        double[] rates = [config.LearningRate, .. steps.Select(s => s.GetProperty("learning_rate_after").GetDouble())];
        trainer.LearningRateFactor = step => rates[step] / config.LearningRate;

        for (int i = 0; i < steps.Length; i++)
            CompareStep(trainer, steps[i], tensors, $"step{i}.", limits);
    }

    /// <summary>Was the case run with TRL's iterator over the parameters, which the first clipping used up?</summary>
    private static bool ClippingSawNothing(JsonElement test) => test.GetProperty("steps").EnumerateArray()
        .SelectMany(step => step.GetProperty("mini_batches").EnumerateArray())
        .Any(m => m.TryGetProperty("clip_call", out var call) && call.GetProperty("tensors_seen").GetInt32() == 0);

    private static void CompareStep(PpoTrainer trainer, JsonElement step, Dictionary<string, Tensor> tensors, string prefix, Limits limits)
    {
        Assert.InRange(trainer.KlCoef - step.GetProperty("kl_coef_before").GetDouble(), -limits.KlCoef, limits.KlCoef);
        var permutations = new Queue<int[]>(step.GetProperty("permutations").EnumerateArray().Select(Ints));
        trainer.DrawPermutation = _ => permutations.Dequeue();
        var firstGradient = new Dictionary<string, Tensor>();
        trainer.AfterBackward = _ =>
        {
            if (firstGradient.Count == 0)
                foreach (var (name, parameter) in trainer.Model.TrainedParameters)
                    if (parameter.requires_grad)
                        firstGradient[TrlName(name)] = parameter.grad!.clone();
        };
        var masks = step.GetProperty("response_masks");
        var queries = step.GetProperty("queries").EnumerateArray().Select(Ints).ToArray();
        var responses = step.GetProperty("responses").EnumerateArray().Select(Ints).ToArray();
        var statistics = trainer.Step(queries, responses,
            step.GetProperty("scores").EnumerateArray().Select(s => s.GetSingle()).ToArray(),
            masks.ValueKind == JsonValueKind.Null ? null : masks.EnumerateArray().Select(Ints).ToArray());

        ComparePerToken(statistics, tensors, prefix, limits);
        CompareStatistics(statistics, step, tensors, prefix, limits);
        CompareMiniBatches(statistics, step, prefix, limits);
        Assert.Equal(step.GetProperty("ppo_epochs_run").GetInt32(), statistics.PpoEpochs);
        limits.AfterUpdate(trainer, prefix, step.GetProperty("stats").GetProperty("objective/kl").GetDouble());
        Assert.InRange(trainer.KlCoef - step.GetProperty("kl_coef_after").GetDouble(), -limits.KlCoef, limits.KlCoef);
        if (step.GetProperty("running_moments") is { ValueKind: JsonValueKind.Object } moments && trainer.Config.UseScoreScaling)
        {
            Limits.CompareRelative("mean", moments.GetProperty("mean").GetDouble(), trainer.ScoreMoments.Mean, 1e-5);
            Limits.CompareRelative("std", moments.GetProperty("std").GetDouble(), trainer.ScoreMoments.Std, 1e-5);
            Limits.CompareRelative("var", moments.GetProperty("var").GetDouble(), trainer.ScoreMoments.Var, 1e-5);
            Limits.CompareRelative("count", moments.GetProperty("count").GetDouble(), trainer.ScoreMoments.Count, 1e-5);
        }

        foreach (var (name, parameter) in trainer.Model.TrainedParameters)
            limits.CompareWeights(tensors, prefix + "weights.", TrlName(name), parameter, limits.Weights(prefix));
        foreach (var (name, gradient) in firstGradient)
            limits.CompareWeights(tensors, prefix + "first_grad.", name, gradient, Limits.Gradient);
        foreach (var state in trainer.Optimizer.States)
        {
            limits.CompareWeights(tensors, prefix + "adam_m.", TrlName(state.Name), state.FirstMoment, Limits.Gradient);
            limits.CompareWeights(tensors, prefix + "adam_v.", TrlName(state.Name), state.SecondMoment, Limits.Gradient);
        }
    }

    private static void ComparePerToken(PpoStatistics statistics, Dictionary<string, Tensor> tensors, string prefix, Limits limits)
    {
        var batch = statistics.Batch;
        var mask = tensors[prefix + "masks"];
        foreach (var (name, actual) in new Dictionary<string, float[]>
        {
            ["logprobs"] = batch.Logprobs,
            ["ref_logprobs"] = batch.RefLogprobs,
            ["values_masked"] = batch.Values,
            ["kls"] = batch.Kls,
            ["non_score_rewards"] = batch.NonScoreRewards,
            ["rewards"] = batch.Rewards,
            ["advantages"] = batch.Advantages,
            ["returns"] = batch.Returns,
        })
            limits.Compare(prefix + name, Masked(tensors[prefix + name], mask), Counted(actual, batch.Mask));
        limits.Compare(prefix + "scores_used", Floats(tensors[prefix + "scores_used"]), statistics.ScoresUsed);
    }

    private static void CompareStatistics(
        PpoStatistics statistics, JsonElement step, Dictionary<string, Tensor> tensors, string prefix, Limits limits)
    {
        var scalars = statistics.Scalars();
        var distributions = statistics.Distributions();
        var mask = tensors[prefix + "masks"];
        foreach (var stat in step.GetProperty("stats").EnumerateObject())
        {
            if (stat.Value.ValueKind == JsonValueKind.Number)
            {
                Assert.True(scalars.ContainsKey(stat.Name), $"The statistic {stat.Name} is missing.");
                if (stat.Name == "ppo/learning_rate")
                    Limits.CompareRelative(stat.Name, stat.Value.GetDouble(), scalars[stat.Name], 1e-6);
                else
                    limits.CompareScalar(prefix, stat.Name, stat.Value.GetDouble(), scalars[stat.Name]);
                continue;
            }
            Assert.True(distributions.ContainsKey(stat.Name), $"The statistic {stat.Name} is missing.");
            var expected = tensors[stat.Value.GetProperty("tensor").GetString()!];
            var actual = distributions[stat.Name];
            if (stat.Name is "objective/logprobs" or "objective/ref_logprobs")
                limits.Compare(prefix + stat.Name, Masked(expected, mask), actual);
            else if (stat.Name is "ppo/policy/advantages" or "ppo/policy/ratio")
            {
                // TRL's arrays hold all positions of every minibatch in the order of the permutations; ours the counted tokens.
                var permuted = step.GetProperty("permutations").EnumerateArray().SelectMany(Ints).ToArray();
                var rows = expected.view(permuted.Length, -1);
                var expectedCounted = permuted.SelectMany((b, i) => Masked(rows.narrow(0, i, 1), mask.narrow(0, b, 1))).ToArray();
                limits.Compare(prefix + "stats." + stat.Name, expectedCounted, actual);
            }
            else
                limits.Compare(prefix + "stats." + stat.Name, Floats(expected), actual);
        }
    }

    private static void CompareMiniBatches(PpoStatistics statistics, JsonElement step, string prefix, Limits limits)
    {
        var expected = step.GetProperty("mini_batches").EnumerateArray().ToArray();
        Assert.Equal(expected.Length, statistics.MiniBatches.Count);
        for (int i = 0; i < expected.Length; i++)
        {
            var m = statistics.MiniBatches[i];
            foreach (var (name, actual) in new Dictionary<string, double>
            {
                ["loss/policy"] = m.PolicyLoss,
                ["loss/value"] = m.ValueLoss,
                ["loss/total"] = m.TotalLoss,
                ["policy/entropy"] = m.Entropy,
                ["policy/approxkl"] = m.ApproxKl,
                ["policy/policykl"] = m.PolicyKl,
                ["policy/clipfrac"] = m.ClipFrac,
                ["policy/advantages_mean"] = m.AdvantagesMean,
                ["returns/mean"] = m.ReturnsMean,
                ["returns/var"] = m.ReturnsVar,
                ["val/vpred"] = m.ValuePrediction,
                ["val/error"] = m.ValueError,
                ["val/clipfrac"] = m.ValueClipFrac,
                ["val/mean"] = m.ValueMean,
                ["val/var"] = m.ValueVar,
                ["mean_ratio"] = m.MeanRatio,
            })
                limits.CompareScalar(prefix, $"minibatch {i} {name}", expected[i].GetProperty(name).GetDouble(), actual);
            Assert.Equal(expected[i].GetProperty("skipped_by_ratio_threshold").GetBoolean(), m.SkippedByRatioThreshold);
            Assert.Equal(expected[i].GetProperty("optimizer_stepped").GetBoolean(), m.GradNorm is not null);
            if (m.GradNorm is { } norm)
                limits.CompareScalar(prefix, $"minibatch {i} gradient norm",
                    expected[i].GetProperty("grad_norm_after_backward").GetDouble(), norm);
        }
    }

    private static PpoConfig Config(JsonElement test)
    {
        var trl = test.GetProperty("trl_config");
        double Number(string key) => trl.GetProperty(key).GetDouble();
        int Whole(string key) => trl.GetProperty(key).GetInt32();
        bool Flag(string key) => trl.GetProperty(key).GetBoolean();
        double? Optional(string key) => trl.GetProperty(key) is { ValueKind: JsonValueKind.Number } value ? value.GetDouble() : null;
        return new PpoConfig
        {
            LearningRate = Number("learning_rate"),
            AdaptiveKlControl = Flag("adap_kl_ctrl"),
            InitKlCoef = Number("init_kl_coef"),
            KlPenalty = Enum.Parse<KlPenalty>(trl.GetProperty("kl_penalty").GetString()!, ignoreCase: true),
            Target = Number("target"),
            Horizon = Number("horizon"),
            Gamma = Number("gamma"),
            Lam = Number("lam"),
            ClipRange = Number("cliprange"),
            ClipRangeValue = Number("cliprange_value"),
            VfCoef = Number("vf_coef"),
            BatchSize = Whole("batch_size"),
            MiniBatchSize = Whole("mini_batch_size"),
            GradientAccumulationSteps = Whole("gradient_accumulation_steps"),
            PpoEpochs = Whole("ppo_epochs"),
            MaxGradNorm = Optional("max_grad_norm"),
            EarlyStopping = Flag("early_stopping"),
            TargetKl = Number("target_kl"),
            RatioThreshold = Number("ratio_threshold"),
            UseScoreScaling = Flag("use_score_scaling"),
            UseScoreNorm = Flag("use_score_norm"),
            ScoreClip = Optional("score_clip"),
            WhitenRewards = Flag("whiten_rewards"),
            NumSharedLayers = Regex.Match(test.GetProperty("note").GetString()!,
                @"num_shared_layers\W{1,3}(\d+)") is { Success: true } shared
                ? int.Parse(shared.Groups[1].Value) : null,
        };
    }

    private static int[] Ints(JsonElement array) => array.EnumerateArray().Select(v => v.GetInt32()).ToArray();

    private static string TrlName(string name) => name.StartsWith("v_head", StringComparison.Ordinal) ? name
        : "pretrained_model." + LoraMatrix().Replace(name, "$0.default");

    [GeneratedRegex(@"\.lora_(A|B|magnitude_vector)\b")]
    private static partial Regex LoraMatrix();

    private static float[] Floats(Tensor tensor) => tensor.to(float32).contiguous().data<float>().ToArray();

    private static float[] Masked(Tensor values, Tensor mask) =>
        Counted(Floats(values.reshape(-1)), Floats(mask.reshape(-1)));

    private static float[] Counted(float[] values, float[] mask)
    {
        Assert.Equal(mask.Length, values.Length);
        return values.Where((_, i) => mask[i] != 0).ToArray();
    }

    /// <summary>20 times the rounding noise that the fixture measured against 64 bits, plus 1e-5.</summary>
    private sealed class Limits(JsonElement noise)
    {
        /// <summary>
        /// Allowed difference of gradients and Adam's moments, which have no noise of their own, in a tensor with this maximum.
        /// </summary>
        public static Func<double, double> Gradient { get; } = max => 1e-3 * max + 1e-10;

        /// <summary>Allowed difference of the KL coefficient so far.</summary>
        public double KlCoef { get; private set; } = 1e-6;

        /// <summary>Allowed difference of weights.</summary>
        public Func<double, double> Weights(string step) => _ => 1e-5 + 20 * Noise(step + "weights, all others");

        public void Compare(string name, float[] expected, float[] actual)
        {
            Assert.Equal(expected.Length, actual.Length);
            double limit = Limit(name), worst = 0;
            // A ratio is the exponential of a difference of logprobs: their noise, times the ratio.
            if (name.EndsWith("/ratio", StringComparison.Ordinal))
                limit *= Math.Max(1, expected.Max());
            for (int i = 0; i < expected.Length; i++)
                worst = Math.Max(worst, Math.Abs(expected[i] - actual[i]));
            Assert.True(worst <= limit, $"{name}: differs by {worst:g3}, allowed is {limit:g3}.");
        }

        public void CompareWeights(
            Dictionary<string, Tensor> tensors, string prefix, string name, Tensor actual, Func<double, double> limitForMaximum)
        {
            if (!tensors.TryGetValue(prefix + name, out var expected))
                return;
            var difference = (expected - actual.detach()).abs();
            // The key third of c_attn.bias has no effect: its gradient is rounding noise.
            if (name.EndsWith("c_attn.bias", StringComparison.Ordinal))
            {
                long d = difference.shape[0] / 3;
                difference = cat([difference.narrow(0, 0, d), difference.narrow(0, 2 * d, d)]);
            }
            double limit = limitForMaximum(expected.abs().max().ToDouble()), worst = difference.max().ToDouble();
            Assert.True(worst <= limit, $"{prefix + name}: differs by {worst:g3}, allowed is {limit:g3}.");
        }

        public void CompareScalar(string step, string name, double expected, double actual)
        {
            double limit = ScalarLimit(step, name, expected);
            Assert.True(Math.Abs(expected - actual) <= limit,
                $"{step}{name}: is {actual}, TRL has {expected}, allowed is a difference of {limit:g3}.");
        }

        public static void CompareRelative(string name, double expected, double actual, double limit) =>
            Assert.True(Math.Abs(expected - actual) <= limit * Math.Max(Math.Abs(expected), limit),
                $"{name}: is {actual}, TRL has {expected}.");

        /// <summary>The coefficient follows the divergence, and with it the divergence's noise.</summary>
        public void AfterUpdate(PpoTrainer trainer, string step, double kl)
        {
            var config = trainer.Config;
            if (config.AdaptiveKlControl)
                KlCoef += trainer.KlCoef * ScalarLimit(step, "objective/kl", kl) / config.Target * config.BatchSize / config.Horizon;
        }

        /// <summary>
        /// The measured relative noise; and, since a mean of numbers that cancel each other keeps their noise, that of the tokens
        /// that it is taken over.
        /// </summary>
        private double ScalarLimit(string step, string name, double expected)
        {
            double relative = noise.TryGetProperty(step + "scalar stats, relative", out var worst) ? worst[0].GetDouble() : 0;
            double tokens = name switch
            {
                _ when name.Contains("val/") || name.Contains("returns/") || name.Contains("loss/value") =>
                    Math.Max(Noise(step + "values (masks=1)"), Noise(step + "returns (masks=1)")),
                "objective/kl" or "objective/entropy" =>
                    TokensOfResponse * Math.Max(Noise(step + "kls (masks=1)"), Noise(step + "logprobs (masks=1)")),
                _ => Noise(step + "logprobs (masks=1)"),
            };
            return 1e-5 + 20 * tokens + (20 * relative + 1e-5) * Math.Abs(expected);
        }

        private double Limit(string name)
        {
            int dot = name.IndexOf('.');
            var (step, rest) = (name[..(dot + 1)], name[(dot + 1)..]);
            var key = rest.Split('/')[^1] switch
            {
                "values_masked" => "values (masks=1)",
                "non_score_rewards" => "rewards (masks=1)",
                var other => other.Replace("stats.", "", StringComparison.Ordinal) + " (masks=1)",
            };
            // Sums of a response's divergences carry the noise of each of its tokens.
            if (rest.EndsWith("/kl_dist", StringComparison.Ordinal))
                return 1e-5 + 20 * TokensOfResponse * Noise(step + "kls (masks=1)");
            // Ratios are taken while the weights move, so the weights' noise is in them, too.
            return 1e-5 + 20 * Math.Max(Noise(step + key),
                rest.EndsWith("/ratio", StringComparison.Ordinal) ? Noise(step + "weights, all others") : 0);
        }

        private const int TokensOfResponse = 10;

        private double Noise(string key) =>
            noise.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : 0;
    }
}
