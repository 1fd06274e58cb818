using System.Text.Json;
using Rlhf.Training.Optimization;
using Rlhf.Training.Preferences;
using static Rlhf.Tests.Training.Preferences.PreferenceCases;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Preferences;

/// <summary>KtoObjective against steps that TRL's KTOTrainer took.</summary>
public sealed class KtoParityTests
{
    public static TheoryData<string> Cases() => Of("kto", "kto");

    [Theory]
    [MemberData(nameof(Cases))]
    public void EveryStepIsThatOfTrl(string name)
    {
        using var scope = NewDisposeScope();
        var (test, tensors) = Load("kto", name);
        var (policy, referenceModel) = ModelsOf(test);
        using var ownedPolicy = policy;
        using var ownedReference = referenceModel;
        using var reference = ReferenceOf(referenceModel);
        var settings = test.GetProperty("settings");
        var config = new KtoConfig
        {
            LearningRate = test.GetProperty("learning_rate").GetDouble(),
            LearningRateSchedule = LearningRateSchedule.Constant,
            WarmupRatio = 0,
            MaxGradNorm = test.GetProperty("max_grad_norm").GetDouble(),
            BatchSize = 1024,
            Loss = Enum.Parse<KtoLoss>(settings.GetProperty("loss_type").GetString()!.Replace("_", "", StringComparison.Ordinal), ignoreCase: true),
            Beta = Number(settings, "beta", 0.1),
            DesirableWeight = Number(settings, "desirable_weight", 1),
            UndesirableWeight = Number(settings, "undesirable_weight", 1),
        };
        Assert.Empty(config.Validate());
        using var trainer = new KtoTrainer(policy, config, reference);
        var objective = new KtoObjective(policy, reference, config);
        var steps = test.GetProperty("steps").EnumerateArray().ToArray();
        for (int i = 0; i < steps.Length; i++)
        {
            string prefix = $"step{i}.";
            double Tolerance(string tensor) => PreferenceCases.Tolerance(test, prefix + tensor, i);
            AnswerExample[] answers = [.. steps[i].GetProperty("data").EnumerateArray().Select(row => (Row: row, IsGood: row.GetProperty("desirable").GetBoolean()))
                .Select(x => new AnswerExample(Ids(x.Row, "prompt_ids"), Ids(x.Row, x.IsGood ? "chosen_ids" : "rejected_ids"), x.IsGood))];
            using (var noGrad = no_grad())
            using (var rows = objective.Rows(answers))
            {
                var loss = objective.Forward(answers, rows);
                Close(prefix + "policy_logps", tensors.Floats(prefix + "policy_logps"), Floats(loss.Logps), Tolerance("policy_logps"));
                Close(prefix + "reference_logps", tensors.Floats(prefix + "reference_logps"), Floats(loss.RefLogps), Tolerance("reference_logps"));
                float[] losses = Floats(loss.Losses), rewards = Floats(loss.Rewards);
                float[] Of(float[] values, bool desirable) => [.. values.Where((_, b) => answers[b].IsDesirable == desirable)];
                Close(prefix + "losses", tensors.Floats(prefix + "losses"), [.. Of(losses, true), .. Of(losses, false)], Tolerance("losses"));
                Close(prefix + "chosen_rewards", tensors.Floats(prefix + "chosen_rewards"), Of(rewards, true), Tolerance("chosen_rewards"));
                Close(prefix + "rejected_rewards", tensors.Floats(prefix + "rejected_rewards"), Of(rewards, false), Tolerance("rejected_rewards"));
            }
            if (i == 0)
            {
                objective.ForwardBackward(answers, 1.0 / answers.Length);
                CompareAll(tensors, prefix + "grad.", n => policy.Parameters[n].grad, Tolerance("grad"));
                foreach (var (_, parameter) in policy.Parameters)
                    parameter.grad = null;
            }

            var progress = trainer.Step(answers, steps.Length);
            Close("loss", steps[i].GetProperty("loss").GetDouble(), progress.Loss, Tolerance("losses"));
            Close("grad_norm", steps[i].GetProperty("grad_norm").GetDouble(), progress.GradNorm, 5 * Tolerance("losses"));
            var metrics = steps[i].GetProperty("metrics");
            Assert.Equal(metrics.TryGetProperty("rewards/chosen_mean", out var chosen) & metrics.TryGetProperty("rewards/rejected_mean", out var rejected),
                progress.Metrics.TryGetValue("rewards/margins", out double margin));
            if (progress.Metrics.ContainsKey("rewards/margins"))
                Close("margin", chosen.GetDouble() - rejected.GetDouble(), margin, 2 * Tolerance("losses"));
            foreach (var metric in metrics.EnumerateObject())
                if (progress.Metrics.TryGetValue(metric.Name.Replace("_mean", "", StringComparison.Ordinal), out double actual))
                    Close(metric.Name, metric.Value.GetDouble(), actual, Tolerance("losses"));
                else
                    Assert.DoesNotContain(metric.Name, (string[])["kl", "rewards/chosen_mean", "rewards/rejected_mean"]);
            CompareAll(tensors, prefix + "weights.", n => policy.Parameters[n], WeightTolerance(test, prefix, i));
        }
    }
}
