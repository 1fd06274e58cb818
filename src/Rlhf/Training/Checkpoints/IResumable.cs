using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Training.Optimization;
using Parameter = TorchSharp.Modules.Parameter;

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
    /// which a run that goes on makes up. By default all.
    /// </summary>
    long ReportedSteps => StepCount;

    /// <summary>
    /// False after a step that failed when it had changed weights already: what the trainer holds is then nothing that a run can
    /// go on from. A step that fails before leaves the trainer as it was. True by default.
    /// </summary>
    bool IsBetweenSteps => true;

    /// <summary>
    /// Does the model still compute finite numbers? After an update that was too large it may not, although no weight is NaN or infinite
    /// itself; no run can go on from there. By default: are all parameters finite?
    /// </summary>
    bool IsUsable() => ResumableParameters.AreFinite();

    /// <summary>All parameters, under the names that the saved model gives them.</summary>
    IEnumerable<KeyValuePair<string, Parameter>> ResumableParameters { get; }

    /// <summary>The optimizer, for its moments.</summary>
    Adam Optimizer { get; }

    /// <summary>The numbers of the run, such as the step, the KL coefficient and running means.</summary>
    JsonNode CaptureState();

    /// <summary>Takes the numbers back.</summary>
    /// <exception cref="JsonException">They are not those of such a trainer, which is as it was before.</exception>
    void RestoreState(JsonElement state);
}
