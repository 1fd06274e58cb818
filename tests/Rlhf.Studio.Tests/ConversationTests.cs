using Rlhf.Studio.Playground;

namespace Rlhf.Studio.Tests;

public sealed class ConversationTests
{
    private static (string, string)[] Of(Conversation conversation, Side side) =>
        [.. conversation.MessagesFor(side).Select(m => (m.Role, m.Text))];

    private static void Write(ChatTurn turn, string before, string after)
    {
        Assert.True(WrittenAnswer.Give(turn.Answers, new TokenChosen(Side.Base, before, 0)));
        Assert.True(WrittenAnswer.Give(turn.Answers, new TokenChosen(Side.Aligned, after, null)));
    }

    [Fact]
    public void Each_model_remembers_its_own_answers()
    {
        Conversation conversation = new();
        Write(conversation.Say("Hello"), "Hm.", "Good day!");
        conversation.Say("How are you?");
        Assert.Equal([("user", "Hello"), ("assistant", "Hm."), ("user", "How are you?")], Of(conversation, Side.Base));
        Assert.Equal([("user", "Hello"), ("assistant", "Good day!"), ("user", "How are you?")], Of(conversation, Side.Aligned));
    }

    [Fact]
    public void A_system_message_goes_before_and_holds_from_when_it_is_set()
    {
        Conversation conversation = new() { System = " \n" };
        Write(conversation.Say("Hello"), "a", "b");
        Assert.Equal([("user", "Hello")], Of(conversation, Side.Base));
        conversation.System = " Be brief. ";
        conversation.Say("And now?");
        Assert.Equal([("system", "Be brief."), ("user", "Hello"), ("assistant", "b"), ("user", "And now?")], Of(conversation, Side.Aligned));
        conversation.Clear();
        conversation.Say("Anew");
        Assert.Equal([("system", "Be brief."), ("user", "Anew")], Of(conversation, Side.Base));
    }

    [Fact]
    public void The_last_message_can_be_taken_back()
    {
        Conversation conversation = new();
        Assert.Null(conversation.Withdraw());
        Write(conversation.Say("Hello"), "a", "b");
        conversation.Say("Wrong");
        Assert.Equal("Wrong", conversation.Withdraw());
        Assert.Equal(2, conversation.Say("Right").Number);
        Assert.Equal([("user", "Hello"), ("assistant", "a"), ("user", "Right")], Of(conversation, Side.Base));
    }

    [Fact]
    public void What_happens_reaches_the_answer_that_it_happened_to()
    {
        var answers = WrittenAnswer.Both();
        Assert.False(WrittenAnswer.Give(answers, new Waiting("Loading the models …")));
        WrittenAnswer.Give(answers, new Forgotten(Side.Aligned, 2));
        WrittenAnswer.Give(answers, new Answered(Side.Base, 3, 0.5, null, null));
        Assert.Equal((0, 3), (answers[0].Forgotten, answers[0].Result?.Tokens));
        Assert.Equal((2, null), (answers[1].Forgotten, answers[1].Result));
    }
}
