using System.Text.Json;
using System.Text.Json.Nodes;

namespace Rlhf.Training.Checkpoints;

/// <summary>
/// A trainer whose run can be saved between two steps and continued exactly: what it holds beside what its settings, data and
/// first model say. Random choices are functions of the seed and the step, so that they need no place here.
/// </summary>
public interface IResumable
{
    /// <summary>Optimizer or PPO steps taken.</summary>
    long StepCount { get; }

    /// <summary>
    /// Steps whose progress was reported; one less than <see cref="StepCount"/> where a stop came between a step and the end of its evaluation,
    /// which a resumed run makes up. By default all.
    /// </summary>
    long ReportedSteps => StepCount;

    /// <summary>
    /// False after a step that failed when it had changed weights already: a run cannot be resumed from what the trainer then holds. A step that fails before leaves the trainer as it was. True by default.
    /// </summary>
    bool IsBetweenSteps => true;

    /// <summary>
    /// Does the model still compute finite numbers? After an update that was too large it may not, although no weight is NaN or infinite
    /// itself; no run can be resumed from there. By default: are all tensors of <see cref="Files"/> finite?
    /// </summary>
    bool IsUsable() => Files.All(file => file.Tensors.All(t => t.Value.IsFinite()));

    /// <summary>
    /// The files that hold its tensors: the model's, or an adapter's alone, and the optimizer's. A checkpoint holds them all; those that
    /// saving the model does not write are written from these tensors.
    /// </summary>
    IReadOnlyList<StateFile> Files { get; }

    /// <summary>The numbers of the run, such as the step, the KL coefficient and running means.</summary>
    JsonNode CaptureState();

    /// <summary>Takes the numbers back.</summary>
    /// <exception cref="JsonException">They are not those of such a trainer, which is as it was before.</exception>
    void RestoreState(JsonElement state);
}
