"""A deliberately hackable reward: it rewards long thinking, whether or not the answer is right.

"More thinking is better thinking" looks reasonable, because it is true at the start of training: completions that think longer are
more often right. Within 40 steps the policy always thinks, and accuracy rises from 0.68 to 0.83. Then the policy finds that writing
anything at all is the cheapest way to think long. By step 160 of the arm `hackable` of my-rewards.toml this component has reached
0.97 and accuracy has fallen to 0.29: the thinking has the 20 words that are rewarded and lists sounds that are not in the clip.

The report shows the hack as two diverging curves and as falling `consistency` and `think_quality`, because the judge is not deceived.
The completions in the report and in `rollouts.jsonl` show it too.
"""

ENOUGH = 20


def reward(think, **columns):
    return [min(1.0, len((text or "").split()) / ENOUGH) for text in think]
