using System.Text.Json;
using Rlhf.Models;
using Rlhf.Models.Decoders;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using Rlhf.Training.Optimization;
using Rlhf.Training.Preferences;
using static Rlhf.Tests.Training.Preferences.PreferenceCases;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Preferences;

/// <summary>DpoObjective against steps that TRL's DPO, ORPO and CPO trainers took.</summary>
public sealed class DpoParityTests
{
    public static TheoryData<string> Cases() => Of("dpo", "sigmoid");

    [Theory]
    [MemberData(nameof(Cases))]
    public void EveryStepIsThatOfTrl(string name) => Run(name, precomputed: false);

    /// <summary>What is known of the reference before training gives the same.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void SoItIsWithReferencesComputedBefore(string name) => Run(name, precomputed: true);

    /// <summary>So it is where a pair's answers follow one copy of their prompt.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void SoItIsWherePromptsAreReadOnce(string name)
    {
        Assert.SkipUnless(TileProduct.IsSupported, "This processor has no AVX-512; prompts are read with each answer on it.");
        using var shortcuts = new Shortcuts(fusedBlocks: true, MatrixLibrary.OneDnn, packsAttention: true);
        Run(name, precomputed: false, readOnce: true);
    }

    private static void Run(string name, bool precomputed, bool readOnce = false)
    {
        using var scope = NewDisposeScope();
        var (test, tensors) = Load("dpo", name);
        var (policy, referenceModel) = ModelsOf(test);
        using var ownedPolicy = policy;
        using var ownedReference = referenceModel;
        using var reference = ReferenceOf(referenceModel);
        var config = Config(test);
        var steps = test.GetProperty("steps").EnumerateArray().ToArray();
        Assert.Empty(config.Validate());
        using var trainer = new DpoTrainer(policy, config, precomputed ? null : reference);
        var objective = new DpoObjective(policy, precomputed ? null : reference, config);
        for (int i = 0; i < steps.Length; i++)
        {
            string prefix = $"step{i}.";
            double Tolerance(string tensor) => PreferenceCases.Tolerance(test, prefix + tensor, i);
            IReadOnlyList<PairExample> pairs = [.. steps[i].GetProperty("data").EnumerateArray().Select(row =>
                new PairExample(Ids(row, "prompt_ids"), Ids(row, "chosen_ids"), Ids(row, "rejected_ids")))];
            if (precomputed && config.UsesReference)
                pairs = DpoTrainer.WithReference(pairs, reference, 2);

            // The numbers of the pairs before the update.
            using (var noGrad = no_grad())
            using (var rows = objective.Rows(pairs))
            {
                Assert.Equal(pairs.Sum(p => 2 * p.Prompt.Length + p.Chosen.Length + p.Rejected.Length), rows.TokenCount);
                if (readOnce && policy is DecoderForCausalLM)
                    Assert.Equal(rows.TokenCount - pairs.Sum(p => p.Prompt.Length), rows.Batch.TokenCount);
                var loss = objective.Forward(pairs, rows);
                var logps = Floats(loss.Logps);
                Close(prefix + "policy_chosen_logps", tensors.Floats(prefix + "policy_chosen_logps"), logps[..pairs.Count], Tolerance("policy_chosen_logps"));
                Close(prefix + "policy_rejected_logps", tensors.Floats(prefix + "policy_rejected_logps"), logps[pairs.Count..], Tolerance("policy_rejected_logps"));
                if (loss.RefLogps is not null)
                {
                    var refLogps = Floats(loss.RefLogps);
                    Close(prefix + "reference_chosen_logps", tensors.Floats(prefix + "reference_chosen_logps"), refLogps[..pairs.Count], Tolerance("reference_chosen_logps"));
                    Close(prefix + "reference_rejected_logps", tensors.Floats(prefix + "reference_rejected_logps"), refLogps[pairs.Count..], Tolerance("reference_rejected_logps"));
                }
                Close(prefix + "losses", tensors.Floats(prefix + "losses"), LossesOf(loss, config, tensors, prefix), Tolerance("losses"));
                if (!precomputed || config.UsesReference || config.LearnsAlone)
                {
                    Close(prefix + "chosen_rewards", tensors.Floats(prefix + "chosen_rewards"), Floats(loss.ChosenRewards), Tolerance("chosen_rewards"));
                    Close(prefix + "rejected_rewards", tensors.Floats(prefix + "rejected_rewards"), Floats(loss.RejectedRewards), Tolerance("rejected_rewards"));
                }
            }
            if (i == 0)
            {
                objective.ForwardBackward(pairs, 1.0 / pairs.Count);
                CompareAll(tensors, prefix + "grad.", n => policy.Parameters[n].grad, Tolerance("grad"));
                foreach (var (_, parameter) in policy.Parameters)
                    parameter.grad = null;
            }

            var progress = trainer.Step(pairs, steps.Length);
            Close("loss", steps[i].GetProperty("loss").GetDouble(), progress.Loss, Tolerance("losses"));
            Close("grad_norm", steps[i].GetProperty("grad_norm").GetDouble(), progress.GradNorm, 5 * Tolerance("losses"));
            foreach (var metric in steps[i].GetProperty("metrics").EnumerateObject().Where(m => !m.Name.StartsWith("logits/", StringComparison.Ordinal)))
                if ((!precomputed || !config.ReferenceFree || !metric.Name.StartsWith("rewards/", StringComparison.Ordinal))
                    && (metric.Name != "nll_loss" || config.CrossEntropyWeight > 0))
                    Close(metric.Name, metric.Value.GetDouble(), progress.Metrics[metric.Name], Tolerance("losses"));
            CompareAll(tensors, prefix + "weights.", n => policy.Parameters[n], WeightTolerance(test, prefix, i));
        }
    }

    /// <summary>TRL's losses [B]: ORPO's are β · log σ(log odds), the negative.</summary>
    private static float[] LossesOf(PairLoss loss, DpoConfig config, FixtureTensors tensors, string prefix) =>
        config.Loss == PreferenceLoss.Orpo && tensors.Floats(prefix + "losses").All(x => x <= 0) ? [.. Floats(loss.Losses).Select(x => -x)] : Floats(loss.Losses);

    private static DpoConfig Config(JsonElement test)
    {
        var settings = test.GetProperty("settings");
        string type = settings.TryGetProperty("loss_type", out var given) ? given.GetString()! : "sigmoid";
        string note = test.GetProperty("name").GetString() + " " + test.GetProperty("note").GetString();
        bool orpo = note.Contains("orpo", StringComparison.OrdinalIgnoreCase), cpo = settings.TryGetProperty("cpo_alpha", out _);
        var loss = orpo ? PreferenceLoss.Orpo
            : type == "simpo" ? PreferenceLoss.Simpo
            : cpo ? type switch { "hinge" => PreferenceLoss.CpoHinge, "ipo" => PreferenceLoss.CpoIpo, _ => PreferenceLoss.Cpo }
            : Enum.Parse<PreferenceLoss>(type.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);
        var divergence = settings.TryGetProperty("f_divergence_type", out var f)
            ? Enum.Parse<FDivergence>(f.GetString()!.Replace("_", "", StringComparison.Ordinal), ignoreCase: true) : FDivergence.ReverseKl;
        return new DpoConfig
        {
            LearningRate = test.GetProperty("learning_rate").GetDouble(),
            LearningRateSchedule = LearningRateSchedule.Constant,
            WarmupRatio = 0,
            MaxGradNorm = test.GetProperty("max_grad_norm").GetDouble(),
            BatchSize = 1024,
            Loss = loss,
            Beta = Number(settings, "beta", 0.1),
            LabelSmoothing = Number(settings, "label_smoothing", 0),
            ReferenceFree = settings.TryGetProperty("reference_free", out var free) && free.GetBoolean(),
            DivergenceType = divergence,
            AlphaDivergenceCoef = settings.TryGetProperty("f_divergence_params", out var parameters) ? Number(parameters, "alpha_divergence_coef", 1) : 1,
            RpoAlpha = settings.TryGetProperty("rpo_alpha", out var rpo) && rpo.ValueKind == JsonValueKind.Number ? rpo.GetDouble() : null,
            CpoAlpha = cpo ? Number(settings, "cpo_alpha", 1) : null,
            SimpoGamma = Number(settings, "simpo_gamma", 0.5),
        };
    }
}
