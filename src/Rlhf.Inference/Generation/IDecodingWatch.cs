namespace Rlhf.Generation;

/// <summary>Is told what a <see cref="DecodingEngine"/> does, on its thread.</summary>
internal interface IDecodingWatch
{
    /// <summary>A prompt was read, and the first token of its text chosen.</summary>
    /// <param name="promptTokens">Tokens of the prompt.</param>
    /// <param name="waited">Since the text was asked for.</param>
    void FirstToken(int promptTokens, TimeSpan waited);

    /// <summary>A further token of a text was chosen.</summary>
    /// <param name="took">Since the token before.</param>
    void NextToken(TimeSpan took);
}
