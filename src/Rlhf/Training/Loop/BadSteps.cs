namespace Rlhf.Training.Loop;

/// <summary>
/// Counts the steps in a row whose numbers were bad: those that could not be trained on, which changes neither weights nor moments, and
/// those that were tolerated. Too many in a row stop the run, because it is not recovering.
/// </summary>
/// <param name="most">Most bad steps in a row after which a run continues.</param>
internal sealed class BadSteps(int most)
{
    /// <summary>What each trainer says of the setting.</summary>
    public const string Help = "Steps in a row that may be left out because their numbers were bad, before the run stops.";

    /// <summary>Bad steps since the last good one.</summary>
    public int InARow { get; set; }

    /// <summary>Has the run had too many?</summary>
    public bool AreTooMany => InARow > most;

    /// <summary>What a run says that stops, after the finding itself.</summary>
    public string Tally => InARow > 1 ? $" ({InARow} bad steps in a row)" : "";

    /// <summary>
    /// Can the weights be used when the run ends now? A single bad step may come last; several, or nothing but bad ones, mean that the last
    /// update of all was the bad one.
    /// </summary>
    public bool CanFinish(long totalSteps) => InARow < 2 && InARow < totalSteps;

    /// <summary>Takes a step of supervised fine-tuning or reward modeling: is it good?</summary>
    /// <exception cref="TrainingDivergedException">It is not, and there were too many such steps, or the run would end with
    /// them.</exception>
    public bool Accept(long step, long totalSteps, double loss, double gradNorm, double learningRate, double? maxGradNorm)
    {
        if (double.IsFinite(loss) && double.IsFinite(gradNorm))
        {
            InARow = 0;
            return true;
        }
        InARow++;
        if (!AreTooMany && (step < totalSteps || CanFinish(totalSteps)))
            return false;
        throw new TrainingDivergedException(step, $"the loss is {loss} and the gradient norm {gradNorm}{Tally}",
            $"Lower LearningRate ({learningRate}), lengthen the warm-up or clip harder with MaxGradNorm "
            + $"({maxGradNorm?.ToString() ?? "off"}).",
            "An update was too large, or the weights were damaged from the start.", "LearningRate");
    }

    /// <summary>What to say of a step that was left out.</summary>
    public static TrainingWarning Warning(long step, double loss, double gradNorm) => new("bad_step",
        $"Step {step} was left out: the loss is {loss} and the gradient norm {gradNorm}. Weights and moments are as they were. "
        + "If it happens again, lower LearningRate.");
}
