using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Checkpoints;

/// <summary>Checks whether a model is still usable after an update.</summary>
internal static class ModelCheck
{
    /// <summary>Rows of the last step that are given to the model once more.</summary>
    internal const int Rows = 4;

    /// <summary>Are all parameters finite?</summary>
    internal static bool AreFinite(this IEnumerable<KeyValuePair<string, Parameter>> parameters)
    {
        using var scope = NewDisposeScope();
        return parameters.All(p => p.Value.IsFinite());
    }

    /// <summary>Are all elements finite?</summary>
    internal static bool IsFinite(this Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.isfinite().all().cpu().item<bool>();
    }

    /// <summary>Refuses a trainer whose model does not compute finite numbers any more.</summary>
    /// <exception cref="TrainingDivergedException">It does not; the run cannot be resumed from here.</exception>
    public static void RequireUsable(IResumable trainer)
    {
        if (!trainer.IsUsable())
            throw new TrainingDivergedException(trainer.StepCount, "the model's own numbers are not finite after this step",
                "Lower LearningRate, or set MaxGradNorm.", "An update was too large.", "LearningRate")
            {
                WeightsAreDamaged = true,
            };
    }
}
